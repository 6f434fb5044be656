"""Metrics of comparisons with reference periods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import Metric

from models.kpi.definition import Kpi
from models.scope import PARTS, Scope
from models.window import Reference, ShownWindow
from streams.analysis.differences import Difference
from streams.export.metrics.families import Sample, Spec, family
from streams.export.report_queries import Compared, Differences

_LABELS = ("kpi", "scope", *PARTS, "window", "reference")

REFERENCE = Spec(
    "kpi_monitor_reference",
    "Value of a KPI in the reference period, in the KPI's unit: previous is the period of equal"
    " length before, last_week the same period a week before; absent if the reference period was"
    " not observed completely",
    _LABELS,
)
CHANGE = Spec(
    "kpi_monitor_change_ratio",
    "Change of a KPI from the reference period to the newest whole quarter of an hour: value /"
    " reference - 1; absent if the reference is not above 0",
    _LABELS,
)
SIGNIFICANT = Spec(
    "kpi_monitor_change_significant",
    "1 if the change is statistically significant at the 95% level, 0 if not; absent if not tested",
    _LABELS,
)

SPECS = tuple(value for value in list(globals().values()) if isinstance(value, Spec))


class DifferenceRow(NamedTuple):
    """The differences of one scope in one window from one reference period."""

    window: ShownWindow
    reference: Reference
    scope: Scope
    differences: Sequence[tuple[Kpi, Difference]]

    @property
    def series_count(self) -> int:
        """Number of series of the row: for each KPI one to three."""
        return sum(
            1 + (one.ratio is not None) + (one.significant is not None)
            for _, one in self.differences
        )


def difference_rows(
    compared: Mapping[Compared, Differences], *, scopes: Iterable[Scope]
) -> Iterator[DifferenceRow]:
    """Yield a row for each scope, window and reference period, in the order of the scopes."""
    for scope in scopes:
        for (window, reference), by_scope in compared.items():
            if scope in by_scope:
                yield DifferenceRow(window, reference, scope, by_scope[scope])


def difference_metrics(rows: Iterable[DifferenceRow]) -> Iterator[Metric]:
    """Yield the metrics of comparisons; money is in whole units of the reporting currency."""
    samples: dict[Spec, list[Sample]] = {spec: [] for spec in SPECS}
    for row in rows:
        for kpi, one in row.differences:
            labels = (kpi.name, *row.scope, row.window, row.reference)
            samples[REFERENCE].append((labels, one.then.value))
            if one.ratio is not None:
                samples[CHANGE].append((labels, one.ratio))
            if one.significant is not None:
                samples[SIGNIFICANT].append((labels, float(one.significant)))
    for spec, found in samples.items():
        yield family(spec, found)
