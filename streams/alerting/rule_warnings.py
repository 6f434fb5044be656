"""Warnings about configuration that is valid and probably not what its author meant.

Rules, scorecards and exports that name what nobody knows, and rules that would hardly fire or
hardly resolve. Each warning has its place in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from models.kpi.definition import Catalogue, Kpi
from models.kpi.formula import Quotient, bare, names_in
from models.kpi.measures import FROM_CUSTOMERS, STOCKS
from models.kpi.user_catalogue import KpiBook
from models.names import AsShown, NameBook, matches_name
from models.patterns import is_pattern, matches, nearest
from models.scope import DIRECT, NO_CAMPAIGN, NO_CHANNEL, UNKNOWN_CAMPAIGN, ScopeKind, parts_of
from models.scorecards.scorecard import ScorecardBook
from models.window import WINDOWS
from streams.alerting.rules.registry import RuleBook
from streams.alerting.rules.rule import Rule
from streams.alerting.words import counted, duration
from streams.ingest.registry.campaign_index import CampaignIndex

_STEP_S: Final = {window.name: window.step_ms // 1000 for window in WINDOWS}
_DAYS: Final = {window.name: window.days for window in WINDOWS}
_BUCKETS: Final[Mapping[str, tuple[str, ...]]] = {
    "campaign": (NO_CAMPAIGN, UNKNOWN_CAMPAIGN),
    "channel": (NO_CHANNEL, DIRECT),
}
"""What stands in the place of a name, in the scopes that rules can be about."""


class ConfigWarning(NamedTuple):
    """A warning, and the keys and indices of its place in its file."""

    location: tuple[str | int, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the names and KPIs in configuration are checked against.

    Args:
        campaigns: all campaigns that are defined, also those of the registry topic. Without any,
            their names are not checked.
        as_shown: returns the shown form of a name, as workers do when they start: a name or alias
            of a campaign of the file becomes its id.
        names: the names of channels, regions and segments. A part of scopes of which none is
            defined is not checked; the channels of campaigns count, too.
        kpis: the KPIs, with the coefficients that are configured.
        customers: whether customers are stored.
        customer_days: the business days from which customers and open leads are counted; None if
            that is not known.
    """

    campaigns: CampaignIndex = field(default_factory=CampaignIndex)
    as_shown: AsShown = lambda _, name: name
    names: NameBook = field(default_factory=NameBook)
    kpis: KpiBook = field(default_factory=KpiBook)
    customers: bool = True
    customer_days: int | None = None

    def of(self, part: str) -> list[str]:
        """Return the shown names that are known of a part of scopes; empty if none is."""
        if part == "campaign":
            return [campaign.id for campaign in self.campaigns]
        defined = {one.name for one in getattr(self.names, f"{part}s")}
        if part == "channel":
            told = (channel for campaign in self.campaigns for channel in campaign.channels)
            defined.update(self.names.as_shown(part, channel) for channel in told)
        return sorted(defined)


def about_rules(book: RuleBook, known: Known) -> Iterator[ConfigWarning]:
    """Yield the warnings about the rules of a file."""
    catalogue = known.kpis.catalogue
    for at, rule in enumerate(book.rules):
        kpi = catalogue[rule.kpi]
        for part in parts_of(rule.scope):
            for text in _about_names(part, getattr(rule.match, part), known):
                yield ConfigWarning(("rules", at, "match", part), text)
        for text in _about_campaigns(rule, known):
            yield ConfigWarning(("rules", at, "match", "campaign"), text)
        for key, text in (
            *_about_kpi(kpi, known),
            *_about_days(rule, kpi, known),
            *_about_durations(rule),
            *rule.warnings(kpi),
        ):
            yield ConfigWarning(("rules", at, key), text)


def about_traffic(
    book: RuleBook, catalogue: Catalogue, *, largest_n: Callable[[Rule], int | None], found: str
) -> Iterator[ConfigWarning]:
    """Yield a warning for each rule that can't fire at the traffic that there is.

    Args:
        book: the rules.
        catalogue: the KPIs.
        largest_n: returns the largest n of a scope of a rule in its window; None if not known.
        found: where the traffic is known from.
    """
    for at, rule in enumerate(book.rules):
        kpi = catalogue[rule.kpi]
        least, n = rule.least(kpi), largest_n(rule)
        if n is None or n >= least.n:
            continue
        yield ConfigWarning(
            ("rules", at, least.key),
            f"{rule.name} can't fire: {least.why} takes {least.n:,} {counted(kpi)} in "
            f"{rule.window}, and no scope has more than {n:,} {found}; use a longer window, a "
            "wider scope or another limit",
        )


def about_scorecards(book: ScorecardBook, known: Known) -> Iterator[ConfigWarning]:
    """Yield the warnings about the names in scorecards."""
    for at, card in enumerate(book.scorecards):
        scope: ScopeKind = card.scope
        for part in parts_of(scope):
            for text in _about_names(part, card.match, known):
                yield ConfigWarning(("scorecards", at, "match"), text)


def about_kpis(book: KpiBook) -> Iterator[ConfigWarning]:
    """Yield the warnings about KPIs that a file of KPIs names and nobody knows."""
    catalogue: Catalogue = book.catalogue
    for at, kpi in enumerate(book.kpis):
        if kpi.outcome is not None and kpi.outcome not in catalogue:
            yield ConfigWarning(("kpis", at, "outcome"), _unknown("KPI", kpi.outcome, catalogue))
    for at, rule in enumerate(book.export):
        for pattern in rule.kpis:
            if not any(matches(name, [pattern]) for name in catalogue):
                yield ConfigWarning(("export", at, "kpis"), _unknown("KPI", pattern, catalogue))


def _about_names(part: str, names: Iterable[str], known: Known) -> Iterator[str]:
    """Yield a warning for each name or pattern that nothing known has."""
    found = known.of(part)
    candidates = [*found, *_BUCKETS.get(part, ())]
    for name in names if found else ():
        pattern = name if is_pattern(name) else known.as_shown(part, name)
        if any(matches_name(one, (pattern,)) for one in candidates):
            continue
        called = known.campaigns.called(name) if part == "campaign" else None
        if called is not None:
            yield (
                f"{name!r} is a name of campaign {called.id}, which is not in the file of "
                "campaigns; write its id"
            )
        else:
            yield _unknown(part, name, candidates)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    if is_pattern(name):
        return f"{name!r} matches no {what} that is known"
    return f"no {what} {name!r} is known{nearest(name, known)}"


def _about_campaigns(rule: Rule, known: Known) -> Iterator[str]:
    """Yield a warning for each scope that a rule names and never judges."""
    for named in rule.match.named(rule.scope):
        channel = named.channel and known.as_shown("channel", named.channel)
        campaign = known.campaigns.called(named.campaign)
        if campaign is None:
            continue
        scope = named._replace(campaign=campaign.id, channel=channel)
        if why := rule.why_never_judged(scope, campaign):
            yield f"{why}, so the rule never judges it; complete its definition, or leave it out"


def _about_kpi(kpi: Kpi, known: Known) -> Iterator[tuple[str, str]]:
    formula = kpi.parsed
    if isinstance(formula, Quotient) and isinstance(formula.times, str):
        missing = formula.times not in known.kpis.coefficients
        if missing:
            yield (
                "kpi",
                f"{kpi.name} has no value without the coefficient {formula.times}; give it in the "
                "file of KPIs",
            )
    lacking = () if known.customers else from_customers(kpi)
    if lacking:
        yield (
            "kpi",
            f"{kpi.name} rests on {lacking[0]}, which is not measured while no customers are "
            "stored; set KPI_REDIS",
        )


def _about_days(rule: Rule, kpi: Kpi, known: Known) -> Iterator[tuple[str, str]]:
    days = _DAYS[rule.window]
    if known.customer_days is None or kpi.figures.isdisjoint(STOCKS):
        return
    if days > known.customer_days:
        yield (
            "window",
            f"{kpi.name} of {rule.window} has no value while customers are counted from "
            f"{known.customer_days} days; set KPI_CUSTOMER_DAYS to {days} or more",
        )


def from_customers(kpi: Kpi) -> Sequence[str]:
    """Return the measures of customers that a KPI needs, is made of, or counts as its n."""
    used = [*names_in(kpi.parsed), *(name for _, name in kpi.n_terms or ())]
    needed = kpi.needs if FROM_CUSTOMERS.issuperset(kpi.needs) else ()
    return [name for name in (*used, *needed) if bare(name) in FROM_CUSTOMERS]


def _about_durations(rule: Rule) -> Iterator[tuple[str, str]]:
    step_s = _STEP_S[rule.window]
    for key, given_s in (("for", rule.for_s), ("keep_firing_for", rule.keep_firing_for_s)):
        if given_s % step_s:
            acts_s = given_s + -given_s % step_s
            yield (
                key,
                f"the window {rule.window} closes every {duration(step_s).en}, so "
                f"{duration(given_s).en} acts as {duration(acts_s).en}",
            )
