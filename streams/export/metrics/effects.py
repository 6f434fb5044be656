"""Metrics of the effects of campaign changes: KPIs before and after each change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from models.scope import Scope
from streams.export.metrics.families import ScopeSamples, Spec
from streams.kpis.view import Effect

EFFECT = Spec(
    "kpi_monitor_effect",
    "Value of a KPI of a campaign in periods of equal length before and after a change of the"
    " campaign, in the KPI's unit; absent if one of the periods was not observed completely",
    ("campaign", "change", "what", "kpi", "period"),
)

SPECS = (EFFECT,)


def effect_samples(effects: Iterable[Effect]) -> Iterator[ScopeSamples]:
    """Yield the samples of each effect; the label ``change`` is its moment, RFC 3339 in UTC.

    Changes of the same campaign, thing and quarter of an hour have the same labels and values:
    they are exported once.
    """
    known: set[tuple[str, ...]] = set()
    for effect in effects:
        moment = datetime.fromtimestamp(effect.moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
        what = effect.change.campaign, moment, effect.change.what
        if what not in known:
            known.add(what)
            yield ScopeSamples(
                Scope("campaign", effect.change.campaign),
                [
                    (EFFECT, ((*what, name, period), value.value))
                    for period, values in (("before", effect.before), ("after", effect.after))
                    for name, value in values.items()
                ],
            )
