"""A worker whose clock is ahead by the seconds in the file that KPI_TEST_CLOCK names."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

true_time = time.time
offset_s = 0.0


def wrong_time() -> float:
    """Return the time of the wrong clock."""
    return true_time() + offset_s


def follow(file: Path) -> None:
    """Read the offset from the file every 0.1 s."""
    global offset_s  # noqa: PLW0603 - a process has one clock
    while True:
        if file.exists() and (text := file.read_text()):
            offset_s = float(text)
        time.sleep(0.1)


time.time = wrong_time
threading.Thread(target=follow, args=(Path(os.environ["KPI_TEST_CLOCK"]),), daemon=True).start()

from streams import cli  # noqa: E402 - after the clock

if __name__ == "__main__":
    cli.main()
