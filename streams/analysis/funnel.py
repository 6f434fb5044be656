"""Computes the funnel from impression to repeated order, and where more is lost than usual.

The reference is the scope's own past. A step's *excess loss* is the number that would have
passed at the reference rate and did not. It is multiplied by the reference rates of the steps
after it, up to the order: the result is a number of orders, so that steps can be compared. For
the last step, from orders to orders of returning customers, it is a number of repeated orders.

Example:
    A scope has clicks, registrations and orders. In the reference week there was a registration
    for 5 % of the clicks, and an order for 20 % of the registrations. In the last hour, 1,000
    clicks gave 30 registrations instead of 50. The excess loss of this step is
    (50 - 30) * 0.2 = 4 orders. It is significant, as 20 exceeds 1.96 * sqrt(50) = 13.9.
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
"""The steps in their order, each with the KPIs whose sum is its count."""
_AFTER_THE_ORDER = "repeat"
"""Excess loss is not multiplied by the rate of this step: it is counted in orders."""

WINDOW: WindowName = "1h"
REFERENCE: WindowName = "week"
"""The funnel of the last hour is compared with that of the last seven business days."""
Z_SIGNIFICANT = 1.96
"""Standard deviations beyond which a loss is significant, at the 95% level (two-sided)."""


@dataclass(frozen=True, slots=True)
class Step:
    """The transition from one step to the next one that has events in the reference.

    Args:
        name: name of the step that is entered by it, such as ``visit``.
        entered: number of events of the step before.
        passed: number of events of this step.
        rate: passed / entered.
        reference: the rate in the reference.
        excess_loss: orders lost beyond what is usual; 0 if no more is lost than usual.
        significant: whether the loss is statistically significant.
    """

    name: str
    entered: int
    passed: int
    rate: float
    reference: float
    excess_loss: float = 0.0
    significant: bool = False


def funnel(now: Mapping[str, KpiValue], reference: Mapping[str, KpiValue]) -> list[Step]:
    """Return the transitions between the steps that have events in the reference.

    A step that a scope does not have, such as leads in a shop, is left out. So is a transition
    that nothing entered.

    Args:
        now: the scope's KPIs in `WINDOW`.
        reference: the scope's KPIs in `REFERENCE`.
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
                # The number that passes is taken as Poisson with the usual number as its mean.
                significant=expected - passed > Z_SIGNIFICANT * sqrt(expected),
            )
        )
    return steps


def worst(steps: Sequence[Step]) -> Step | None:
    """Return the step with the largest significant excess loss; None if there is none."""
    losing = [step for step in steps if step.significant]
    return max(losing, key=lambda step: step.excess_loss, default=None)


def _counts(values: Mapping[str, KpiValue]) -> dict[str, int]:
    return {
        step: sum(int(values[name].value) for name in names if name in values)
        for step, names in STEPS.items()
    }
