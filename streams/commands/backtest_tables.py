"""The tables of ``kpi-monitor backtest``: firings, rules with their scores, another rules file."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from models.kpi.definition import Catalogue
from streams.alerting.words import duration
from streams.backtest.firings import Firing
from streams.backtest.incidents import Score
from streams.backtest.result import Result
from streams.commands.amounts import interval, shown


class Shown(NamedTuple):
    """The units of the KPIs, the currency and the time zone in which results are shown."""

    catalogue: Catalogue
    currency: str
    zone: tzinfo


def firings_table(firings: Iterable[Firing], how: Shown, *, to_ms: int) -> Table:
    """Return a table of firings of one rule, with their evidence.

    Args:
        firings: the firings.
        how: how their values are shown.
        to_ms: the end of the backtest, in ms, until which open alerts fire.
    """
    table = Table("scope", "fired at", "for", "value", "95 % interval", "limit", "n")
    for firing in firings:
        fired = firing.fired
        kpi = how.catalogue.get(fired.kpi)
        table.add_row(
            escape(str(fired.scope)),
            f"{datetime.fromtimestamp(firing.from_ms / 1000, how.zone):%d %b %H:%M:%S}",
            _lasted(firing, to_ms),
            shown(fired.value, kpi, currency=how.currency),
            interval(fired.low, fired.high, kpi, currency=how.currency),
            shown(fired.threshold, kpi, currency=how.currency),
            f"{fired.n:,}",
        )
    return table


def rules_table(result: Result) -> Table:
    """Return a table of the rules: how often each fires, and how well it finds incidents."""
    table = Table("rule", "firings", "a week")
    scores = result.scores
    if scores:
        for title in ("precision", "recall", "delay"):
            table.add_column(title)
    for rule, count in result.counts.items():
        table.add_row(*_counted(escape(rule), count, result), *_scored(scores.get(rule)))
    if (together := result.score) is not None:
        counted = _counted("together", len(result.firings), result)
        table.add_row(*counted, *_scored(together), style="bold")
    return table


def _counted(name: str, count: int, result: Result) -> tuple[str, str, str]:
    return name, f"{count:,}", f"{result.a_week(count):.3g}"


def _lasted(firing: Firing, to_ms: int) -> str:
    seconds = (firing.until_ms(to_ms) - firing.from_ms) / 1000
    still = "" if firing.resolved_ms is not None else ", still firing"
    return duration(seconds).en + still


def _scored(score: Score | None) -> list[str]:
    """Return the cells of a score: shares with what they are of, and the median delay."""
    if score is None:
        return []
    delay = score.delay_ms
    return [
        _share(score.right, score.firings),
        _share(score.found, score.incidents),
        "-" if delay is None else duration(round(delay / 1000)).en,
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} ({part} of {whole})" if whole else "-"
