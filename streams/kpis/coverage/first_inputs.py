"""First inputs: when each kind of event was first counted, in any scope.

A KPI is absent, not 0, before all of its inputs are connected: without a single order, nobody can
tell a shop that sells nothing from a topic of orders that nobody writes to.

Example: clicks are counted from 08:00 on, and the first order of all is at 09:30:05. The conversion
rate of the 5 minutes that end at 09:30 is absent, of all campaigns. That of the 5 minutes that end
at 09:31 is 0 % for a campaign that had clicks and no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter

from models.aggregates.ingest_report import FacetCell
from models.kpi.measures import INPUTS, SUM_INDEX

_NEVER = 2**62
_counts_of = itemgetter(*(SUM_INDEX[name] for name in INPUTS))


class FirstInputs:
    """The first pane of each of `INPUTS`.

    Args:
        first_ms: the start of the first pane by input, in ms; inputs that never came are left out.
    """

    def __init__(self, first_ms: Mapping[str, int] | None = None) -> None:
        known = first_ms or {}
        self._first_ms = [known.get(name, _NEVER) for name in INPUTS]

    def record_pane(self, cells: Iterable[FacetCell], *, pane_start: int) -> bool:
        """Record the cells of a pane; return whether an input came that did not come before it."""
        if pane_start >= max(self._first_ms):
            return False
        earlier = False
        for row in cells:
            for place, count in enumerate(_counts_of(row.cell.sums)):
                if count and pane_start < self._first_ms[place]:
                    self._first_ms[place] = pane_start
                    earlier = True
        return earlier

    def connected(self, end_ms: int) -> int:
        """Return the inputs that came before an event time in ms, as a mask: bit i is INPUTS[i]."""
        return sum(1 << place for place, first in enumerate(self._first_ms) if first < end_ms)

    def to_wire(self) -> dict[str, int]:
        """Return the first panes by input, to be saved."""
        return {
            name: first
            for name, first in zip(INPUTS, self._first_ms, strict=True)
            if first != _NEVER
        }
