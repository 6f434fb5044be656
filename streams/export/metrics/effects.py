"""Metrics of the effects of campaign changes: KPIs before and after each change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from models.kpi.definition import Kpi
from models.scope import Scope
from streams.analysis.differences import difference_between
from streams.export.metrics.families import Sample, ScopeSamples, Spec
from streams.kpis.view import Effect

_CHANGE = ("campaign", "change", "what", "kpi")

EFFECT = Spec(
    "kpi_monitor_effect",
    "Value of a KPI of a campaign, of everything for the campaign's start and end, in periods of"
    " equal length before and after a change of the campaign, in the KPI's unit; absent if one of"
    " the periods was not observed completely",
    (*_CHANGE, "period"),
)
DIFFERENCE = Spec(
    "kpi_monitor_effect_difference",
    "Value of a KPI after a change of a campaign less its value before, in the KPI's unit",
    _CHANGE,
)
LOWER = Spec(
    "kpi_monitor_effect_difference_lower",
    "Lower bound of the 95% interval of the difference; absent if the difference is not tested",
    _CHANGE,
)
UPPER = Spec(
    "kpi_monitor_effect_difference_upper",
    "Upper bound of the 95% interval of the difference; absent if the difference is not tested",
    _CHANGE,
)
SIGNIFICANT = Spec(
    "kpi_monitor_effect_significant",
    "1 if the difference is statistically significant at the 95% level, 0 if not; absent if not"
    " tested",
    _CHANGE,
)

SPECS = (EFFECT, DIFFERENCE, LOWER, UPPER, SIGNIFICANT)


def effect_samples(
    effects: Iterable[Effect], catalogue: Mapping[str, Kpi]
) -> Iterator[ScopeSamples]:
    """Yield the samples of each effect; the label ``change`` is its moment, RFC 3339 in UTC.

    Changes of the same campaign, thing and quarter of an hour have the same labels and values:
    they are exported once.
    """
    known: set[tuple[str, ...]] = set()
    for effect in effects:
        moment = datetime.fromtimestamp(effect.moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
        change = effect.change.campaign, moment, effect.change.what
        if change not in known:
            known.add(change)
            samples = [*_samples(effect, change, catalogue)]
            yield ScopeSamples(Scope("campaign", effect.change.campaign), samples)


def _samples(
    effect: Effect, change: tuple[str, ...], catalogue: Mapping[str, Kpi]
) -> Iterator[tuple[Spec, Sample]]:
    """Yield the samples of an effect: its values, and their differences with intervals."""
    for period, values in (("before", effect.before), ("after", effect.after)):
        for name, value in values.items():
            yield EFFECT, ((*change, name, period), value.value)
    for name in effect.before.keys() & effect.after.keys():
        before, after = effect.before[name], effect.after[name]
        one = difference_between(catalogue[name], after, before)
        labels = (*change, name)
        yield DIFFERENCE, (labels, after.value - before.value)
        if one.low is not None and one.high is not None:
            yield LOWER, (labels, one.low)
            yield UPPER, (labels, one.high)
            yield SIGNIFICANT, (labels, float(one.significant or False))
