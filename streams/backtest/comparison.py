"""Compares the firings of two files of rules on the same events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from models.scope import Scope
from streams.backtest.firings import Firing


class Comparison(NamedTuple):
    """The firings of some rules beside those of others.

    Args:
        only_here: firings that the other rules have not.
        only_there: firings that only the other rules have.
        both: pairs of firings of a rule of the same name in the same scope, at a common time.
    """

    only_here: list[Firing]
    only_there: list[Firing]
    both: list[tuple[Firing, Firing]]


def compare(here: Sequence[Firing], there: Sequence[Firing]) -> Comparison:
    """Return which firings two backtests have in common.

    A firing is in both if a rule of the same name fires in the same scope at some time of it. If
    the other one fires twice in that time, the second is only there.
    """
    free: defaultdict[tuple[str, Scope], list[Firing]] = defaultdict(list)
    for one in there:
        free[one.rule, one.scope].append(one)
    only_here, both = [], []
    for one in here:
        candidates = free[one.rule, one.scope]
        other = next((it for it in candidates if it.overlaps(one.from_ms, one.resolved_ms)), None)
        if other is None:
            only_here.append(one)
        else:
            candidates.remove(other)
            both.append((one, other))
    left = {id(one) for candidates in free.values() for one in candidates}
    return Comparison(only_here, [one for one in there if id(one) in left], both)
