"""The file of refused rows: a line of JSON for each, with its line, the reason, and its columns.

Mended rows can be fed by the same mapping.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from streams.errors import FeedError


class RefusedRows:
    """Writes refused rows to a file, which is made when the first one comes.

    Args:
        path: the file; an older one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def write(self, line: int, why: str, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            FeedError: the file can't be written.
        """
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8")
            # In ASCII, so that bytes that are in no encoding can be written.
            entry = {"_line": line, "_why": why, **row}
            self._file.write(json.dumps(entry, default=_plain) + "\n")
        except OSError as error:
            raise FeedError(
                f"{self.path}: can't be written: {error.strerror}; say with --refused where to "
                "keep refused rows"
            ) from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _plain(value: Any) -> float | str:
    """Return a number of NDJSON as a number, so that it is read as it was; others as text."""
    if isinstance(value, Decimal) and Decimal(repr(float(value))) == value:
        return float(value)
    return str(value)
