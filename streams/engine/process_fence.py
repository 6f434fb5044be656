"""Ends a worker that was paused for longer than its session.

While a process is stopped or its machine is suspended, the consumer group gives its
partitions to another worker. When the process goes on it does not know that yet, and must
not write. It ends, and its supervisor starts it again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import NoReturn

log = logging.getLogger(__name__)

EXIT_CODE = 70
"""BSD's EX_SOFTWARE: this worker can't go on, another one may."""

BEAT_S = 0.25

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def end_process(why: str, *details: object) -> NoReturn:
    """Log the reason and end at once: nothing more is written, not even a checkpoint."""
    log.critical(why, *details)
    logging.shutdown()
    os._exit(EXIT_CODE)


class PauseFence:
    """Detects a pause of the whole process: a thread beats every `BEAT_S`, and it pauses too.

    Args:
        limit_s: the longest pause after which the worker may go on, in s.
    """

    def __init__(self, *, limit_s: float) -> None:
        self._limit_s = limit_s
        self._beat_at = _now()

    def start(self) -> None:
        """Start the thread that beats."""
        self._beat_at = _now()
        threading.Thread(target=self._beat, name="pause-fence", daemon=True).start()

    def paused_s(self) -> float:
        """Return how long the process was paused, in s; 0 if that is within the limit."""
        silent_s = _now() - self._beat_at
        return silent_s if silent_s > self._limit_s else 0.0

    def check(self) -> None:
        """End the process if it was paused for too long."""
        paused_s = self.paused_s()
        if paused_s:
            end_process(
                "this worker was paused for %.0f s, longer than its session; others have its "
                "partitions now, so it ends without writing",
                paused_s,
            )

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_S)
            self.check()
            self._beat_at = _now()


def _now() -> float:
    return time.clock_gettime(_CLOCK)
