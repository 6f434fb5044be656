"""Metrics of the effects of campaign changes: KPIs before and after each change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from prometheus_client.core import Metric

from streams.export.metrics.families import Spec, family
from streams.kpis.view import Effect

EFFECT = Spec(
    "kpi_monitor_effect",
    "Value of a KPI of a campaign in periods of equal length before and after a change of the"
    " campaign, in the KPI's unit; absent if one of the periods was not observed completely",
    ("campaign", "change", "what", "kpi", "period"),
)

SPECS = (EFFECT,)


def effect_metrics(effects: Iterable[Effect]) -> Iterator[Metric]:
    """Yield the metric of effects; the label ``change`` is the moment as RFC 3339 text in UTC.

    Changes of the same campaign, thing and quarter of an hour have the same labels and values:
    they are exported once.
    """
    samples = {
        (
            effect.change.campaign,
            datetime.fromtimestamp(effect.moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ"),
            effect.change.what,
            name,
            period,
        ): value.value
        for effect in effects
        for period, values in (("before", effect.before), ("after", effect.after))
        for name, value in values.items()
    }
    yield family(EFFECT, samples.items())
