"""Compares the published values of windows with those that the oracle calculates."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tests.support import oracle

Published = dict[oracle.Key, dict[str, list[Any]]]
"""By window and scope, then by KPI: value, low, high, n, significant."""
UNITS = 10_000
"""Units in one of the currency: sums of money are exact in them."""
CHECKPOINT_S = 2.5
"""Time for the next checkpoint of the KPI stage, which comes every 2 s on an idle machine."""
PUBLISHED_S = 60.0
"""Longest time in which no further window is published, seconds."""


class Told(NamedTuple):
    """What the topic of values has.

    Attributes:
        values: by window and scope.
        ends: the windows.
        incomplete: those of them that are incomplete, by name and end.
        compared: by name and end the period before, [start, end) in ms, None if not known.
        pasts: by name and end the days from which customers are counted, None if not known.
    """

    values: Published
    ends: set[oracle.End]
    incomplete: set[tuple[str, int]]
    compared: oracle.Compared
    pasts: oracle.Pasts


def published(
    records: Iterable[Any],
) -> Told:
    """Read the topic of values.

    A window that was published several times counts as it was published last.
    """
    found: Published = {}
    ends: set[oracle.End] = set()
    incomplete: set[tuple[str, int]] = set()
    compared: dict[tuple[str, int], tuple[int, int] | None] = {}
    pasts: dict[tuple[str, int], tuple[int, int, int] | None] = {}
    for record in records:
        closed = msgspec.json.decode(record.value)
        name = (closed["window"], closed["end"])
        ends.add((closed["window"], closed["start"], closed["end"]))
        (incomplete.discard if closed["complete"] else incomplete.add)(name)
        before, past = closed.get("previous"), closed.get("past")
        pasts[name] = None if past is None else (past[0], past[1], past[2])
        compared[name] = None if before is None else (before[0], before[1])
        for scope in closed["scopes"]:
            parts = (scope["campaign"], scope["channel"], scope.get("region", ""))
            found[*name, scope["scope"], *parts, scope.get("segment", "")] = scope["values"]
    return Told(found, ends, incomplete, compared, pasts)


def published_once_closed(read: Callable[[], Iterable[Any]], required: set[oracle.End]) -> Told:
    """Read the topic of values once it holds the required windows, and their corrections.

    A window is published by the checkpoint that follows its close, which takes longer on a busy
    machine. So this reads again as long as windows are missing and others are added, and once more
    for corrections. It returns without them if none is added for `PUBLISHED_S`.

    Args:
        read: returns the records of the topic to date.
        required: the windows that must be there.

    Returns:
        As `published`.
    """
    before, grown_s = -1, time.monotonic()
    while True:
        ends = {(one.window, one.start, one.end) for one in map(_decode_end, read())}
        missing = len(required - ends)
        if missing != before:
            before, grown_s = missing, time.monotonic()
        elif missing == 0 or time.monotonic() > grown_s + PUBLISHED_S:
            return published(read())
        time.sleep(CHECKPOINT_S)


class _End(msgspec.Struct):
    """The window and end of a published record; its values are not decoded."""

    window: str
    start: int
    end: int


_decode = msgspec.json.Decoder(_End).decode


def _decode_end(record: Any) -> _End:
    return _decode(record.value)


BUYER_KPIS = frozenset(
    {
        *("buyers", "returning_buyers", "repurchase_rate"),
        *("purchase_conversion_rate", "active_users", "participation_rate"),
        *("new_customer_conversion_rate", "returning_conversion_rate"),
    }
)
"""KPIs with sets of buyers: a buyer stays where an order stood before a late click moved it."""
CUSTOMER_KPIS = frozenset({"customers", "customer_growth", "retention_rate"})
"""KPIs with sets of buyers of the last business days."""


def without_moved(
    got: Published,
    expected: Mapping[oracle.Key, dict[str, oracle.Value]],
    moved: Iterable[int],
    pasts: oracle.Pasts,
    zone: str,
) -> tuple[Published, dict[oracle.Key, dict[str, oracle.Value]]]:
    """Leave out values that a late click may have made differ from the calculation.

    A late click moves an order to another campaign or channel. Sums are moved with it, but a set of
    users can't lose a member: the buyer stays counted in the old scope too. The old scope also
    shows zeros where the calculation has nothing, because an input that was seen on a day stays
    seen until its end.

    Args:
        got: the published values.
        expected: the calculated values.
        moved: event times of orders that may have moved, ms.
        pasts: the days from which customers are counted.
        zone: time zone of the business days.

    Returns:
        The published and the calculated values that remain.
    """
    times = sorted(moved)

    def concerns(key: oracle.Key, since: int) -> bool:
        _, end, _, campaign, channel, *_ = key
        return bool(campaign or channel) and bisect_left(times, since) < bisect_left(times, end)

    mine: Published = {}
    theirs: dict[oracle.Key, dict[str, oracle.Value]] = {}
    for key in got.keys() | expected.keys():
        window, end = key[:2]
        start = oracle.window_start(window, end, zone)
        past = pasts.get((window, end))
        left_out: set[str] = set()
        if concerns(key, start):
            left_out |= BUYER_KPIS
        if past is not None and concerns(key, past[0]):
            left_out |= CUSTOMER_KPIS
        known = expected.get(key, {})
        values = {kpi: one for kpi, one in got.get(key, {}).items() if kpi not in left_out}
        if concerns(key, min(start, oracle.day_start(end, zone))):
            values = {kpi: one for kpi, one in values.items() if kpi in known or one[0] != 0}
        if values or (key in got and key in expected):
            mine[key] = values
        if key in expected:
            theirs[key] = {kpi: one for kpi, one in known.items() if kpi not in left_out}
    return mine, theirs


def holding(windows: Iterable[oracle.End], times: Iterable[int]) -> list[oracle.End]:
    """Return the windows that contain any of the times, sorted."""
    inside = sorted(times)
    return sorted(
        (name, start, end)
        for name, start, end in windows
        if bisect_left(inside, start) < bisect_left(inside, end)
    )


def differences(
    got: Published, expected: dict[oracle.Key, dict[str, oracle.Value]], *, in_order: bool = True
) -> list[str]:
    """Return a message for each difference.

    Args:
        got: the published values.
        expected: the calculated values.
        in_order: whether money that came after its window had closed was read in the order of
            time. If partitions are read at different speeds it was not, and any part of it may be
            in the published value.
    """
    wrong: list[str] = []
    for key in got.keys() | expected.keys():
        mine, theirs = got.get(key), expected.get(key)
        if mine is None or theirs is None:
            wrong.append(f"{key}: published {mine}, calculated {theirs}")
            continue
        wrong += [
            f"{key} {kpi}: published {mine.get(kpi)}, calculated {theirs.get(kpi)}"
            for kpi in sorted(mine.keys() | theirs.keys())
            if kpi not in mine
            or kpi not in theirs
            or not same(mine[kpi], theirs[kpi], in_order=in_order)
        ]
    return wrong


def same(mine: Sequence[Any], theirs: oracle.Value, *, in_order: bool = True) -> bool:
    """Return whether the published value of a KPI equals the calculated one, within its slacks."""
    if len(mine) != 5:
        return False
    value, low, high, n, significant = mine
    return (
        significant is theirs.significant
        and _is_one_of(value, theirs, in_order=in_order)
        and near(n, theirs.n, theirs.n_slack)
        and _bounds_are_near(low, high, theirs)
    )


def _is_one_of(value: float, theirs: oracle.Value, *, in_order: bool) -> bool:
    known = (theirs.value, *theirs.others)
    if theirs.money:
        if any(round(value * UNITS) == round(one * UNITS) for one in known):
            return True
    elif any(near(value, one, theirs.slack) for one in known):
        return True
    return not in_order and min(known) < value < max(known)


def near(mine: float | None, theirs: float | None, slack: float) -> bool:
    """Return whether two numbers are equal within the slack.

    Integers must not differ by more than the slack; other numbers must agree to 12 digits or within
    the slack. None equals only None.
    """
    if mine is None or theirs is None:
        return mine is theirs
    if isinstance(theirs, int):
        return type(mine) is int and abs(mine - theirs) <= slack
    return math.isclose(mine, theirs, rel_tol=1e-12, abs_tol=max(slack, 1e-12))


def _bounds_are_near(low: float | None, high: float | None, theirs: oracle.Value) -> bool:
    if (low is None, high is None) == (theirs.low is None, theirs.high is None):
        return near(low, theirs.low, theirs.bound_slack) and near(
            high, theirs.high, theirs.bound_slack
        )
    # The estimated size of a subset may exceed that of its set. Of the two results, one then has a
    # share above 1 and no interval.
    return theirs.slack > 0 and (low is None) is (high is None) and abs(theirs.value - 1) <= 0.08
