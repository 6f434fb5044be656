"""Records what the view shows besides closed windows: comparisons, phases, effects of changes.

The recorded values are compared with those of the oracle, which treats each as a period of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from models.kpi.definition import Catalogue
from models.scope import Scope
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Effect, Evaluation, KpiView
from tests.support import oracle
from tests.support.compare import Published
from tests.support.offline import Path

TICKS = 9
"""Ticks that the KPI stage gets in one look, so that it rebuilds its round-robin values."""


class _Period(NamedTuple):
    what: str
    start_ms: int
    end_ms: int
    campaign: str
    kinds: tuple[str, ...]


def _key(period: _Period, scope: Scope) -> oracle.Key:
    return (period.what, period.end_ms, *scope)


@dataclass
class Beside:
    """Records the values that a path shows of periods that no later event changes.

    ``shown`` has the values by the oracle's keys, ``periods`` the periods that were seen.

    Args:
        catalogue: the KPIs of the path.
    """

    catalogue: Catalogue
    shown: Published = field(default_factory=dict)
    periods: set[_Period] = field(default_factory=set)

    def look(self, path: Path, *, unread_from_ms: float, ticks: int = TICKS) -> None:
        """Let the KPI stage tick, and record what it shows.

        Args:
            path: must have read everything that was fed.
            unread_from_ms: the oldest event time that is still to be fed; periods that end after
                it are ignored.
            ticks: number of ticks.
        """
        view = path.kpis.view
        older = set() if view is None else {id(one) for one, *_ in _periods_of(view)}
        for seen in path.linger(ticks):
            for source, period, values in _periods_of(seen):
                # Values from before this look may lack reports that came since.
                if id(source) in older or period.end_ms > unread_from_ms:
                    continue
                self.periods.add(period)
                for scope, kpis in values:
                    self.shown[_key(period, scope)] = {
                        name: [value.value, value.low, value.high, value.n, value.significant]
                        for name, value in kpis.items()
                    }

    @property
    def ends(self) -> set[oracle.End]:
        """The periods, as the oracle takes windows."""
        return {(one.what, one.start_ms, one.end_ms) for one in self.periods}

    def told(self, expected: oracle.Values) -> oracle.Values:
        """Return the part of the oracle's values that must be shown."""
        wanted = {
            (one.what, one.end_ms, one.campaign, kind) for one in self.periods for kind in one.kinds
        }
        return {
            key: self._certain(key, kpis)
            for key, kpis in expected.items()
            if not wanted.isdisjoint({(*key[:2], key[3], key[2]), (*key[:2], "*", key[2])})
        }

    def shown_of(self, expected: oracle.Values) -> Published:
        """Return what was shown, without effects on campaigns that had no events.

        An effect shows zeros of them, and the oracle has nothing.
        """
        return {
            key: kpis
            for key, kpis in self.shown.items()
            if key in expected
            or not key[0].startswith(("before", "after"))
            or any(value or n for value, _, _, n, _ in kpis.values())
        }

    def _certain(self, key: oracle.Key, kpis: dict[str, oracle.Value]) -> dict[str, oracle.Value]:
        """Leave out KPIs of an effect that need a kind of source of which no KPI is shown.

        If a source was silent, all KPIs that need it are absent.
        """
        if not key[0].startswith(("before", "after")):
            return kpis
        catalogue = self.catalogue
        told = {kind for name in self.shown.get(key, ()) for kind in catalogue[name].sources}
        return {
            name: value for name, value in kpis.items() if told.issuperset(catalogue[name].sources)
        }


_Shown = tuple[object, _Period, Iterable[tuple[Scope, KpiValues]]]


def _periods_of(view: KpiView) -> Iterator[_Shown]:
    """Yield the comparisons, phases and effects of a view.

    Yields:
        The object that the values are a part of, their period, and pairs of a scope and its values.
    """
    for (window, reference), comparison in view.comparisons.items():
        then = comparison.then
        what = f"{reference} {window}"
        kinds = ("all", "channel", "campaign")
        period = _Period(what, then.start_ms, then.end_ms, "*", kinds)
        yield comparison, period, then.values.items()
    for stage in view.stages:
        yield from _campaigns_of(stage)
    for effect in view.effects:
        if effect.before or effect.after:
            yield from _sides_of(effect)


def _campaigns_of(stage: Evaluation) -> Iterator[_Shown]:
    for campaign in {scope.campaign for scope in stage.values}:
        yield (
            stage,
            _Period(
                f"stage from {stage.start_ms}",
                stage.start_ms,
                stage.end_ms,
                campaign,
                ("campaign", "campaign_channel"),
            ),
            [(scope, kpis) for scope, kpis in stage.values.items() if scope.campaign == campaign],
        )


def _sides_of(effect: Effect) -> Iterator[_Shown]:
    scope, at_ms = effect.scope, effect.moment_ms
    for side, start, values in (
        ("before", at_ms - effect.length_ms, effect.before),
        ("after", at_ms, effect.after),
    ):
        what = f"{side} {effect.length_ms} from {at_ms}"
        period = _Period(what, start, start + effect.length_ms, scope.campaign, (scope.kind,))
        yield effect, period, [(scope, values)]
