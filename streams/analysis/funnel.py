"""Computes the funnel from impression to repeated order, and where more is lost than usual.

Each step contains the next one: an order is placed in a visit, a visit follows a click. So a rate
is never above 100 %. Two rules keep it so:

- A step that has fewer events than the next one in the reference does not contain it, such as
  clicks in a shop that most people visit without one. It is left out; without clicks, so are
  impressions, which only lead to clicks.
- Whoever passed a step has entered it: in a short window an order may come without its visit,
  which was earlier. A step counts at least as many as the next one.

Registrations and leads are no steps: most orders are placed without them. They are *branches* of
the visit (without visits, of the click). Clicks that are left out are a branch of the impression.

The reference is the scope's own past. A step's *excess loss* is the number that would have
passed at the reference rate and did not. It is multiplied by the reference rates of the steps
after it, up to the order: the result is a number of orders, so that steps can be compared. For
the last step, from orders to orders of returning customers, it is a number of repeated orders. For
a branch it is a number of its own events.

Example:
    A scope has clicks, visits and orders. In the reference week there was a visit for 80 % of the
    clicks, and an order for 5 % of the visits. In the last hour, 1,000 clicks gave 700 visits
    instead of 800. The excess loss of this step is (800 - 700) * 0.05 = 5 orders. It is
    significant if the intervals of 700 of 1,000 and of the week's rate are far enough apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from models.kpi.definition import KpiValue
from models.window import WindowName
from streams.kpis.calculation.confidence_intervals import difference, excludes_zero, wilson

STEPS: Mapping[str, str] = {
    "impression": "impressions",
    "click": "clicks",
    "visit": "visits",
    "order": "orders",
    "repeat": "repeat_orders",
}
"""The steps in their order, each with the KPI that is its count."""
BRANCHES: Mapping[str, str] = {
    "click": "clicks",
    "registration": "registrations",
    "lead": "leads",
}
"""The branches of a step, with the KPI that is their count."""
_BRANCH_OFF: Mapping[str, tuple[str, ...]] = {
    "click": ("impression",),
    "registration": ("visit", "click"),
    "lead": ("visit", "click"),
}
"""The steps that a branch may leave; the first one that is known."""
_AFTER_THE_ORDER = "repeat"
"""Excess loss is not multiplied by the rate of this step: it is counted in orders."""
KPIS = frozenset({*STEPS.values(), *BRANCHES.values()})
"""The KPIs that a funnel is computed from."""

WINDOW: WindowName = "1h"
REFERENCE: WindowName = "week"
"""The funnel of the last hour is compared with that of the last seven business days."""


@dataclass(frozen=True, slots=True)
class Step:
    """The transition from one step to the next, or to a branch.

    Args:
        name: name of the step or branch that is entered by it, such as ``visit``.
        left: name of the step before.
        entered: number of events of the step before, at least ``passed``.
        passed: number of events of this step.
        rate: passed / entered, 0 to 1.
        reference: the rate in the reference.
        excess_loss: orders lost beyond what is usual, of a branch its own events; 0 if no more is
            lost than usual.
        significant: whether more is lost than usual, at the 95% level.
    """

    name: str
    left: str
    entered: int
    passed: int
    rate: float
    reference: float
    excess_loss: float = 0.0
    significant: bool = False


class Funnel(NamedTuple):
    """The steps of a scope in their order, and what branches off them."""

    steps: Sequence[Step]
    branches: Sequence[Step]

    @property
    def worst(self) -> Step | None:
        """The step with the largest significant excess loss of orders; None if there is none."""
        losing = [step for step in self.steps if step.significant]
        return max(losing, key=lambda step: step.excess_loss, default=None)


def funnel(now: Mapping[str, KpiValue], reference: Mapping[str, KpiValue]) -> Funnel:
    """Return the steps and branches that have events in the reference and are known in both.

    A transition that nothing entered is left out.

    Args:
        now: the scope's complete KPIs in `WINDOW`.
        reference: the scope's complete KPIs in `REFERENCE`.
    """
    chain = _chain(now, reference)
    counts = {step: int(now[STEPS[step]].value) for step in chain}
    for before, after in reversed(list(pairwise(chain))):
        counts[before] = max(counts[before], counts[after])
    usual = {step: int(reference[STEPS[step]].value) for step in chain}
    usual_rates = {after: usual[after] / usual[before] for before, after in pairwise(chain)}
    steps = []
    for place, (before, after) in enumerate(pairwise(chain)):
        onward = 1.0
        for later in chain[place + 2 :]:
            onward *= 1.0 if later == _AFTER_THE_ORDER else usual_rates[later]
        steps += _transition(
            (before, after),
            (counts[before], counts[after]),
            (usual[before], usual[after]),
            worth=onward,
        )
    return Funnel(steps, _branches(now, reference, chain))


def _chain(now: Mapping[str, KpiValue], reference: Mapping[str, KpiValue]) -> list[str]:
    """Return the steps that contain each other in the reference, in their order."""
    chain: list[str] = []
    for step, kpi in reversed([*STEPS.items()]):
        if kpi not in now or kpi not in reference or reference[kpi].value <= 0:
            continue
        contains = not chain or reference[kpi].value >= reference[STEPS[chain[-1]]].value
        if contains and (not chain or step != "impression" or chain[-1] == "click"):
            chain.append(step)
    return chain[::-1]


def _branches(
    now: Mapping[str, KpiValue], reference: Mapping[str, KpiValue], chain: Sequence[str]
) -> list[Step]:
    branches: list[Step] = []
    for branch, kpi in BRANCHES.items():
        known = kpi in now and kpi in reference and branch not in chain
        for step in _BRANCH_OFF[branch] if known else ():
            of = STEPS[step]
            contained = of in reference and 0 < reference[kpi].value <= reference[of].value
            if of in now and contained:
                counts = [(int(at[of].value), int(at[kpi].value)) for at in (now, reference)]
                branches += _transition((step, branch), *counts, worth=1.0)
                break
    return branches


def _transition(
    names: tuple[str, str], counts: tuple[int, int], usual: tuple[int, int], *, worth: float
) -> list[Step]:
    """Return a transition, or nothing if nothing entered it.

    Args:
        names: the step before and the step or branch after.
        counts: their numbers of events.
        usual: the same in the reference.
        worth: the orders, or events of the branch, that one passing event leads to.
    """
    left, name = names
    passed = counts[1]
    entered = max(counts)
    if entered <= 0:
        return []
    rate, reference = passed / entered, usual[1] / usual[0]
    significant = rate < reference and excludes_zero(
        difference(rate, wilson(passed, entered), reference, wilson(usual[1], usual[0]))
    )
    lost = max(0.0, reference * entered - passed)
    return [Step(name, left, entered, passed, rate, reference, lost * worth, significant)]
