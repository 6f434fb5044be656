"""Queries of the web side: exported series, scores, funnels, comparisons and outliers.

They combine the configuration with a view of the KPIs. Their results are cached for each
evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from models.campaigns.campaign import Campaign
from models.kpi.definition import Catalogue, Kpi
from models.kpi.user_catalogue import Extra, KpiBook
from models.limits import LAG_S
from models.names import shortened
from models.scope import Scope, ScopeKind
from models.scorecards.scorecard import ScorecardBook
from models.window import BusinessDay, Reference, ShownWindow, WindowName
from streams.alerting.links import Links
from streams.alerting.rules.registry import RuleBook
from streams.analysis import funnel, peer_outliers, scorecard_points
from streams.analysis.differences import Difference, difference_of
from streams.export.evaluation_cache import EvaluationCache
from streams.kpis.calculation.kpi_calculator import KpiValues
from streams.kpis.view import Comparison, Evaluation, KpiView

Compared = tuple[ShownWindow, Reference]
"""A window and its reference period."""
Series = Mapping[str, frozenset[Extra]]
"""By name of KPI: what is exported besides its value."""
Differences = Mapping[Scope, Sequence[tuple[Kpi, Difference]]]

OUTLIERS_SHOWN = 50
"""Largest number of outliers that are exported and shown for a window; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQueries:
    """Answers queries about a view, by the configuration.

    Args:
        day: the calendar of business days.
        currency: ISO 4217 code of the reporting currency.
        kpis: the KPIs, and which of their series are exported.
        rules: of alerts; their KPIs are always exported.
        scorecards: the cards to compute.
        largest_series_count: limit of exported KPI series.
        lag_alert_s: lag above which the data are late, s.
        campaign_of: returns a campaign by its id, None if it is not defined.
        links: where the boards and runbooks are, for links of alerts.
    """

    day: BusinessDay
    currency: str
    kpis: KpiBook = field(default_factory=KpiBook)
    rules: RuleBook = field(default_factory=RuleBook)
    scorecards: ScorecardBook = field(default_factory=ScorecardBook)
    largest_series_count: int = 50_000
    lag_alert_s: float = LAG_S.alert
    campaign_of: Callable[[str], Campaign | None] = field(default=lambda _: None, compare=False)
    links: Links = field(default_factory=Links)
    catalogue: Catalogue = field(init=False)
    _asked: frozenset[tuple[str, str, str]] = field(init=False, repr=False)
    _series: dict[tuple[ScopeKind, ShownWindow], Series] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )
    _memo: EvaluationCache = field(
        init=False, default_factory=EvaluationCache, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "catalogue", self.kpis.catalogue)
        asked = frozenset((rule.kpi, rule.scope, rule.window) for rule in self.rules.rules)
        object.__setattr__(self, "_asked", asked)

    def series(self, scope: ScopeKind, window: ShownWindow) -> Series:
        """Return the KPIs that are exported for a kind of scope in a window.

        The file of KPIs or an alert rule asks for them.
        """
        key = scope, window
        if key not in self._series:
            self._series[key] = {
                kpi.name: self.kpis.extras(kpi.name, scope, window)
                for kpi in self.catalogue.values()
                if self.kpis.exports(kpi.name, scope, window)
                or (kpi.name, scope, window) in self._asked
            }
        return self._series[key]

    def name_of(self, campaign_id: str) -> str:
        """Return the name of a campaign, shortened; its id if it has none."""
        campaign = self.campaign_of(campaign_id)
        return campaign_id if campaign is None else shortened(campaign.name) or campaign_id

    def phase_of(self, campaign_id: str, view: KpiView) -> str:
        """Return the name of a campaign's current phase, shortened; empty without one."""
        campaign = self.campaign_of(campaign_id)
        phase = None if campaign is None else campaign.stage_at(view.frontier_ms)
        return "" if phase is None else shortened(phase.name)

    def text_of(self, scope: Scope) -> str:
        """Return a scope as people read it: a campaign by its name, with the id beside it."""
        name = self.name_of(scope.campaign)
        named = name if name == scope.campaign else f"{name} ({scope.campaign})"
        return str(scope._replace(campaign=named))

    def scores(self, view: KpiView) -> list[scorecard_points.Score]:
        """Return the scores of all cards in their newest windows; empty before a window closed.

        Small scopes have a card only if it names them without a pattern.
        """
        if not view.frontier_ms:
            return []
        newest = self._of_cards(view)
        today = self.day.date_of(view.frontier_ms - 1)

        def compute() -> list[scorecard_points.Score]:
            return scorecard_points.scores(
                self.scorecards,
                {name: latest.values for name, latest in newest.items()},
                catalogue=self.catalogue,
                today=today,
                small={name: latest.small for name, latest in newest.items()},
            )

        return self._memo.of("scores", newest.values(), compute, besides=today)

    def scorecards_left_out(self, view: KpiView) -> int:
        """Return the number of cards that small scopes would have, by the patterns of the cards."""
        newest = self._of_cards(view)

        def compute() -> int:
            return sum(
                len(card.scopes(latest.values))
                - len(card.scopes(latest.values.keys() - latest.small))
                for card in self.scorecards.scorecards
                if (latest := newest.get(card.window)) is not None
            )

        return self._memo.of("scorecards left out", newest.values(), compute)

    def _of_cards(self, view: KpiView) -> Mapping[WindowName, Evaluation]:
        """Return the newest evaluations of the windows that cards are about."""
        windows = dict.fromkeys(card.window for card in self.scorecards.scorecards)
        return {name: view.latest[name] for name in windows if name in view.latest}

    def funnels(self, view: KpiView) -> Mapping[Scope, funnel.Funnel]:
        """Return the funnels of everything together, of channels and of campaigns.

        Small channels and campaigns have none: others of them may be small in the reference. The
        funnels are computed from KPIs that are complete in both windows: orders that were not read
        yet are not lost.
        """
        now, usual = view.latest.get(funnel.WINDOW), view.latest.get(funnel.REFERENCE)
        if now is None or usual is None:
            return {}

        complete = [
            name
            for name in funnel.KPIS
            if name in self.catalogue
            and now.complete_for(self.catalogue[name])
            and usual.complete_for(self.catalogue[name])
        ]

        def known(values: KpiValues) -> KpiValues:
            return {name: values[name] for name in complete if name in values}

        def compute() -> Mapping[Scope, funnel.Funnel]:
            return {
                scope: funnel.funnel(known(values), known(usual.values.get(scope, {})))
                for scope, values in now.values.items()
                if scope.kind in {"all", "channel", "campaign"} and scope not in now.small
            }

        return self._memo.of("funnels", [now, usual], compute)

    def differences(self, view: KpiView) -> Mapping[Compared, Differences]:
        """Return by window and reference period how the exported KPIs differ from it."""
        return {
            (window, reference): self._memo.of(
                f"differences {window} {reference}",
                [one.now, one.then],
                partial(self._differences_in, window, one),
            )
            for (window, reference), one in view.comparisons.items()
        }

    def _differences_in(self, window: ShownWindow, comparison: Comparison) -> Differences:
        """Return the differences of one window from one reference period, by scope.

        Small scopes, which are exported as one, are not compared: they may be others in the
        reference period.
        """
        now, then = comparison.now, comparison.then
        return {
            scope: [
                (self.catalogue[name], one)
                for name, extras in self.series(scope.kind, window).items()
                if "comparisons" in extras
                if (one := difference_of(self.catalogue[name], scope, comparison)) is not None
            ]
            for scope in now.values
            if scope in then.values and scope not in now.small
        }

    def outliers(self, view: KpiView) -> Mapping[WindowName, list[peer_outliers.Peer]]:
        """Return the outliers among peers in each window in which no records were lost."""
        newest = {name: view.latest[name] for name in peer_outliers.WINDOWS if name in view.latest}
        return {
            name: self._memo.of(f"outliers {name}", [latest], partial(self._outliers_in, latest))
            for name, latest in newest.items()
            if latest.complete
        }

    def _outliers_in(self, latest: Evaluation) -> list[peer_outliers.Peer]:
        """Return the outliers of one window; small scopes are no peers.

        Only KPIs that are complete in the window are compared.
        """
        return peer_outliers.outliers(
            {scope: values for scope, values in latest.values.items() if scope not in latest.small},
            [kpi for kpi in self.catalogue.values() if latest.complete_for(kpi)],
        )
