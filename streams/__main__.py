"""Entry point of the command. Ctrl-C ends it quietly, also while modules are being imported."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


def _end(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    os._exit(INTERRUPTED)  # nothing has started that would need cleaning up


def main() -> None:
    """Import the command and run it."""
    signal.signal(signal.SIGINT, _end)
    from streams import cli  # noqa: PLC0415 - half a second, in which Ctrl-C may come

    signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
