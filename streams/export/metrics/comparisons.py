"""Metrics of comparisons with reference periods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from models.scope import PARTS, Scope
from streams.export.metrics.families import Sample, ScopeSamples, Spec
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


def difference_samples(
    compared: Mapping[Compared, Differences], *, scopes: Iterable[Scope]
) -> Iterator[ScopeSamples]:
    """Yield the samples of each scope, window and reference period, in the order of the scopes.

    Money is in whole units of the reporting currency.
    """
    for scope in scopes:
        for (window, reference), by_scope in compared.items():
            samples: list[tuple[Spec, Sample]] = []
            for kpi, one in by_scope.get(scope, ()):
                labels = (kpi.name, *scope, window, reference)
                samples.append((REFERENCE, (labels, one.then.value)))
                if one.ratio is not None:
                    samples.append((CHANGE, (labels, one.ratio)))
                if one.significant is not None:
                    samples.append((SIGNIFICANT, (labels, float(one.significant))))
            if samples:
                yield ScopeSamples(scope, samples)
