"""Calculates the KPIs of all scopes of a window from their cells.

Scopes that are sums of the same facets share one cell, and are calculated once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from models.aggregates.cell import Cell
from models.aggregates.distinct_users import Distinct
from models.kpi.measures import (
    ALL_INPUTS,
    ALL_MEASURED,
    SINCE_START,
    SUM_INDEX,
    UNIONS,
    USER_SETS,
    Measured,
)
from models.scope import Scope
from streams.engine.steps import Steps, in_groups
from streams.kpis.calculation.kpi_calculator import (
    NO_FIGURES,
    Figures,
    KpiCalculator,
    KpiValues,
)
from streams.kpis.columnar.scope_totals import ScopeTotals

SCOPES_A_STEP = 32
"""Number of scopes that are calculated in one step, about 5 ms."""


class _Nobody:
    """Empty sets of users, with their counts known to be 0."""

    counts = (0,) * (len(USER_SETS) + len(UNIONS))

    def sets(self) -> list[Distinct]:
        """Return empty sets."""
        return [Distinct() for _ in USER_SETS]


_NOTHING = Cell(counted=_Nobody())
"""The cell of all scopes without events; never modified."""


class Calculated(NamedTuple):
    """The result of calculating a window.

    Args:
        values: the KPIs by scope.
        volumes: clicks plus orders of each scope, by which the scopes of a kind are ranked.
    """

    values: Mapping[Scope, KpiValues]
    volumes: Mapping[Scope, int]


NOTHING_CALCULATED = Calculated({}, {})


class Cells(NamedTuple):
    """The input of a calculation.

    Args:
        totals: cells of the window, by scope.
        connected: the inputs that ever came before the end, as `FirstInputs.connected` returns
            them.
        measured: the measures that all cells of the window have.
        before: cells of the equal period before, by scope; None if that is not known whole.
        measured_before: the measures that all cells of the period before have.
    """

    totals: ScopeTotals
    connected: int = ALL_INPUTS
    measured: Measured = ALL_MEASURED
    before: ScopeTotals | None = None
    measured_before: Measured = ALL_MEASURED


def calculate(
    cells: Cells,
    inputs: Mapping[Scope, int],
    *,
    evaluator: KpiCalculator,
    figures_of: Callable[[Scope], Figures] = lambda _: NO_FIGURES,
    last: Calculated = NOTHING_CALCULATED,
    changed: Collection[Scope] = (),
) -> Steps[Calculated]:
    """Return the KPIs of every scope that had an event in the window or on that business day.

    Args:
        cells: the cells of the window and of the period before.
        inputs: the inputs that each scope showed that day, as `KpiCalculator.inputs_in` returns
            them.
        evaluator: computes the KPIs.
        figures_of: returns what is available beside the cells of a scope.
        last: results of an earlier end, which are kept for scopes that did not change.
        changed: scopes whose earlier results are dropped. With ``last``, ``cells`` and
            ``inputs`` are those of the changed scopes; a changed scope in neither has no result.
    """
    known: dict[tuple[int, int | None, int, frozenset[tuple[str, int]]], KpiValues] = {}

    def values_of(cell: Cell, seen: int, then: Cell | None, figures: Figures) -> KpiValues:
        # Scopes that are sums of the same facets share a cell, such as a campaign with a single
        # channel and that channel of it.
        same = id(cell), None if then is None else id(then), seen, frozenset(figures.items())
        if same not in known:
            known[same] = _evaluated(
                cell, then, cells, seen=seen, evaluator=evaluator, figures=figures
            )
        return known[same]

    values, volumes = dict(last.values), dict(last.volumes)
    for scope in changed:
        values.pop(scope, None)
        volumes.pop(scope, None)
    present = {**dict.fromkeys(inputs, _NOTHING), **cells.totals}
    for group in in_groups(present.items(), of=SCOPES_A_STEP):
        for scope, cell in group:
            if scope.kind != "all":
                volumes[scope] = cell.sums[SUM_INDEX["clicks"]] + cell.sums[SUM_INDEX["orders"]]
            values[scope] = values_of(
                cell,
                inputs.get(scope, 0),
                None if cells.before is None else cells.before.get(scope, _NOTHING),
                figures_of(scope),
            )
        yield
    return Calculated(values, volumes)


def traffic_figures(counts: Mapping[str, int], when: str) -> dict[str, int]:
    """Return the figures of `SINCE_START` that are counted from all traffic.

    Args:
        counts: measures of everything in a stretch of time, by name.
        when: the ending of their names, ``since_start`` or ``before_start``.
    """
    return {
        name: counts[measure]
        for name, ((measure,), _) in SINCE_START.items()
        if name.endswith(when)
    }


def calculate_together(
    groups: Mapping[Scope, Collection[Scope]],
    cells: Cells,
    *,
    inputs: Mapping[Scope, int],
    evaluator: KpiCalculator,
) -> Steps[Mapping[Scope, KpiValues]]:
    """Return the KPIs of groups of scopes as one each; a user in several of them counts once.

    Ratios are those of the summed cells, and not means of the scopes' ratios.

    Args:
        groups: the scopes that are added up, by the scope that stands for them; a scope is in one
            group at most.
        cells: the cells of the window and of the period before; users are counted from their
            columns, which cover all scopes also if cells were made of some only.
        inputs: by group, the inputs that any of its scopes showed that day.
        evaluator: computes the KPIs.
    """
    together = yield from cells.totals.together(groups.values())
    then: Sequence[Cell | None] = [None] * len(groups)
    if cells.before is not None:
        then = yield from cells.before.together(groups.values())
    found: dict[Scope, KpiValues] = {}
    for group, cell, before in zip(groups, together, then, strict=True):
        found[group] = _evaluated(cell, before, cells, seen=inputs[group], evaluator=evaluator)
        yield
    return found


def _evaluated(
    cell: Cell,
    before: Cell | None,
    cells: Cells,
    *,
    seen: int,
    evaluator: KpiCalculator,
    figures: Figures = NO_FIGURES,
) -> KpiValues:
    return evaluator.evaluate(
        cell,
        inputs=evaluator.inputs_in(cell) | seen,
        connected=cells.connected,
        measured=cells.measured,
        before=before,
        measured_before=cells.measured_before,
        figures=figures,
    )
