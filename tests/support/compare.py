"""Compares published values with calculated ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from tests.support import oracle

Published = dict[oracle.Key, dict[str, list[Any]]]


def published(
    records: Iterable[Any],
) -> tuple[Published, set[oracle.End], set[tuple[str, int]]]:
    """Read the topic of values.

    Returns:
        What was published last of every closed window and scope, the windows,
        and which of them were said to be incomplete last.
    """
    found: Published = {}
    ends: set[oracle.End] = set()
    incomplete: set[tuple[str, int]] = set()
    for record in records:
        closed = msgspec.json.decode(record.value)
        name = (closed["window"], closed["end"])
        ends.add((closed["window"], closed["start"], closed["end"]))
        (incomplete.discard if closed["complete"] else incomplete.add)(name)
        for scope in closed["scopes"]:
            found[*name, scope["scope"], scope["campaign"], scope["channel"]] = scope["values"]
    return found, ends, incomplete


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
