"""The reason why one row is refused; the other rows of its file go on."""

from __future__ import annotations

from typing import Any


class RowError(Exception):
    """A row can't become an event.

    Args:
        reason: what is wrong, without the row's own values: rows are counted by it.
        detail: the same with the values, and what to do.
        kept: what is kept of a row that could not be read.
    """

    def __init__(self, reason: str, detail: str = "", **kept: Any) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.kept = kept
