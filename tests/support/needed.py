"""Programs and files that tests need: CI must have them, elsewhere their tests are skipped."""

from __future__ import annotations

import os
import shutil

import pytest

IN_CI = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Fail in CI; elsewhere skip with the reason."""
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


def program(name: str) -> str:
    """Return a program's path, or end the test as `missing` does."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} (see scripts/debian-packages.sh)")
    return str(found)
