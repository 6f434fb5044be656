"""Comparisons with reference periods as metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric

from models.definitions import Kpi
from models.scopes import PARTS, Scope
from models.windows import Reference, WindowName
from streams.export.exports import Exports
from streams.export.families import Sample, Spec, family
from streams.kpis.changes import Change, change_of
from streams.kpis.view import KpiView

_LABELS = ("kpi", "scope", *PARTS, "window", "reference")

REFERENCE = Spec(
    "kpi_monitor_reference",
    "A KPI's value in the reference period: the equal one before, or the same a week before",
    _LABELS,
)
CHANGE = Spec(
    "kpi_monitor_change_ratio",
    "The newest whole quarter's value over that of the reference period, less 1",
    _LABELS,
)
SIGNIFICANT = Spec(
    "kpi_monitor_change_significant",
    "1 if chance does not explain the change at 95 %, 0 if it may; absent where that is not told",
    _LABELS,
)

SPECS = tuple(value for value in list(globals().values()) if isinstance(value, Spec))


class ChangeRow(NamedTuple):
    """The changes of one scope in one window against one reference period."""

    window: WindowName
    reference: Reference
    scope: Scope
    changes: Sequence[tuple[Kpi, Change]]

    @property
    def series_count(self) -> int:
        """How many series it becomes."""
        return sum(
            1 + (change.ratio is not None) + (change.significant is not None)
            for _, change in self.changes
        )


def change_rows(kpis: KpiView, exports: Exports, *, scopes: Iterable[Scope]) -> Iterator[ChangeRow]:
    """Yield what is exported of comparisons, for the scopes in their order.

    The campaigns that are exported together are not compared: they are not the same
    ones in both periods.
    """
    for scope in scopes:
        for (window, reference), comparison in kpis.comparisons.items():
            now, then = comparison.now, comparison.then
            if scope not in now.values or scope not in then.values or scope.campaign in now.small:
                continue
            changes = [
                (kpi, change)
                for kpi in exports.catalogue.values()
                if exports.kpis.exports(kpi.name, scope.kind, window)
                if (change := change_of(kpi, scope, comparison)) is not None
            ]
            yield ChangeRow(window, reference, scope, changes)


def change_metrics(rows: Iterable[ChangeRow]) -> Iterator[Metric]:
    """Yield the metrics of comparisons; sums of money are in the currency."""
    samples: dict[Spec, list[Sample]] = {spec: [] for spec in SPECS}
    for row in rows:
        for kpi, change in row.changes:
            labels = (kpi.name, *row.scope, row.window, row.reference)
            samples[REFERENCE].append((labels, kpi.shown(change.then.value)))
            if change.ratio is not None:
                samples[CHANGE].append((labels, change.ratio))
            if change.significant is not None:
                samples[SIGNIFICANT].append((labels, float(change.significant)))
    for spec, found in samples.items():
        yield family(spec, found)
