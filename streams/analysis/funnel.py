"""The funnel from impression to repeated order, and the step at which more is lost than usual.

A step's *excess loss* is what would have gone on at its reference rate and did
not; carried on at the reference rates of the steps after it, up to the order, it
is a number of orders, so that steps can be compared. Of the last step, from orders
to those of customers who had ordered before, it is a number of repeated orders.
The reference is the scope's own past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from models.kpi.definition import KpiValue
from models.window import WindowName

STEPS: Mapping[str, tuple[str, ...]] = {
    "impression": ("impressions",),
    "click": ("clicks",),
    "visit": ("visits",),
    "interest": ("registrations", "leads"),
    "order": ("orders",),
    "repeat": ("repeat_orders",),
}
"""The steps in their order, and the KPIs whose sum counts each."""
_AFTER_THE_ORDER = "repeat"

WINDOW: WindowName = "1h"
REFERENCE: WindowName = "week"
"""A funnel is that of the last hour, measured by that of the week."""
Z_SIGNIFICANT = 1.96


@dataclass(frozen=True, slots=True)
class Step:
    """The way from one step to the next that has events.

    ``excess_loss`` is in orders, and 0 where no more is lost than usual;
    ``significant`` says that chance does not explain it.
    """

    name: str
    entered: int
    passed: int
    rate: float
    reference: float
    excess_loss: float = 0.0
    significant: bool = False


def funnel(now: Mapping[str, KpiValue], reference: Mapping[str, KpiValue]) -> list[Step]:
    """Return the ways between the steps that have events in the reference.

    A step that a scope does not have, such as leads in a shop, is left out.
    """
    counts, usual = _counts(now), _counts(reference)
    present = [name for name in STEPS if usual[name] > 0]
    ways = list(pairwise(present))
    usual_rates = [usual[after] / usual[before] for before, after in ways]
    steps: list[Step] = []
    for place, (before, after) in enumerate(ways):
        entered, passed = counts[before], counts[after]
        if entered <= 0:
            continue
        expected = usual_rates[place] * entered
        onward = 1.0
        for (_, later), rate in zip(ways[place + 1 :], usual_rates[place + 1 :], strict=True):
            onward *= 1.0 if later == _AFTER_THE_ORDER else rate
        steps.append(
            Step(
                name=after,
                entered=entered,
                passed=passed,
                rate=passed / entered,
                reference=usual_rates[place],
                excess_loss=max(0.0, expected - passed) * onward,
                # The number that goes on is Poisson's around what is usual.
                significant=expected - passed > Z_SIGNIFICANT * sqrt(expected),
            )
        )
    return steps


def worst(steps: Sequence[Step]) -> Step | None:
    """Return the step with the largest excess loss that is significant, if there is one."""
    losing = [step for step in steps if step.significant]
    return max(losing, key=lambda step: step.excess_loss, default=None)


def _counts(values: Mapping[str, KpiValue]) -> dict[str, int]:
    return {
        step: sum(int(values[name].value) for name in names if name in values)
        for step, names in STEPS.items()
    }
