"""The end of the process, as an exception that tests can expect."""

from __future__ import annotations


class ProcessEndedError(BaseException):
    """The code under test would have ended the process."""
