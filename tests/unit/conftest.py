"""What all fast tests need."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


class ProcessEndedError(BaseException):
    """The code under test would have ended the process."""


@pytest.fixture(autouse=True)
def _no_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int) -> NoReturn:
        raise ProcessEndedError(code)

    monkeypatch.setattr(os, "_exit", ended)
