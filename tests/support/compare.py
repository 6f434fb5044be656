"""Compares published values with calculated ones."""

from __future__ import annotations

import math
from typing import Any

from tests.support import oracle

Published = dict[oracle.Key, dict[str, list[Any]]]


def differences(got: Published, expected: dict[oracle.Key, dict[str, oracle.Value]]) -> list[str]:
    """Return what is not equal, in words."""
    wrong: list[str] = []
    for key in got.keys() | expected.keys():
        mine, theirs = got.get(key), expected.get(key)
        if mine is None or theirs is None or mine.keys() != theirs.keys():
            wrong.append(f"{key}: published {mine}, calculated {theirs}")
            continue
        for kpi, value in theirs.items():
            if not all(map(same, mine[kpi], value)):
                wrong.append(f"{key} {kpi}: published {mine[kpi]}, calculated {value}")
    return wrong


def same(mine: float | None, theirs: float | None) -> bool:
    """Integers are equal, other numbers equal to 12 digits."""
    if mine is None or theirs is None or (isinstance(mine, int) and isinstance(theirs, int)):
        return mine == theirs
    return math.isclose(mine, theirs, rel_tol=1e-12, abs_tol=1e-12)
