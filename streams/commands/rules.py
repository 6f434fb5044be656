"""``kpi-monitor rules``: show the last verdict of each alert rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Table

from models.kpi.definition import Catalogue
from streams import config, settings
from streams.commands.amounts import clock, interval, shown
from streams.commands.options import KpisFile, out, say
from streams.export.web import LARGEST_RULES_LIMIT
from streams.operations import worker_api


def rules(
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help="Address of a worker; KPI_WEB_HOST and KPI_WEB_PORT, if left out."
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Show this rule only.")] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit",
            min=0,
            max=LARGEST_RULES_LIMIT,
            help="Scopes of each rule: those that fire or are nearest to it.",
        ),
    ] = 5,
    kpis: KpisFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show why each alert rule fires or does not, in the scopes that are nearest to firing.

    It asks a running worker. If a value is not significant, it says from how many events on it
    would be. The exit code is 2 if no worker answers.
    """
    chosen = settings.load(kpis_file=kpis)
    address = url or worker_api.url_of(chosen)
    answer = worker_api.rules_of(address, rule=rule, limit=limit)
    if as_json:
        say(out, json.dumps(answer, ensure_ascii=False, indent=2))
        return
    catalogue = config.load_kpis(chosen.kpis_file).catalogue
    zone = ZoneInfo(answer["time_zone"])
    for one in answer["rules"]:
        for text in _head(one, zone=zone):
            say(out, text)
        if one["scopes"]:
            out.print(_table(one, catalogue, currency=answer["currency"], zone=zone))
    if not answer["rules"]:
        say(out, "no rules, or no worker owns the KPIs yet")


def _head(one: Mapping[str, Any], *, zone: tzinfo) -> Iterator[str]:
    yield f"{one['rule']}: {one['meaning_en']}"
    counts = ", ".join(
        f"{n:,} {why.replace('_', ' ')}" for why, n in sorted(one["counts"].items()) if n
    )
    judged = "" if one["judged"] is None else f"judged at {clock(one['judged'], zone)}"
    parts = [judged, counts, one["not_judged_en"]]
    if one["held"] is not None:
        sources = ", ".join(one["held"]["sources"])
        parts.append(f"{sources} silent since {clock(one['held']['since'], zone)}")
    yield "  " + "; ".join(text for text in parts if text)


def _table(one: Mapping[str, Any], catalogue: Catalogue, *, currency: str, zone: tzinfo) -> Table:
    kpi = catalogue.get(one["kpi"])

    def limited(usual: Mapping[str, Any] | None) -> str:
        if usual is None or usual["low"] is None:
            return str(one["limit_en"])
        low, high = (shown(usual[bound], kpi, currency=currency) for bound in ("low", "high"))
        return f"usual {low} to {high}"

    table = Table("scope", f"{one['kpi']}, {one['window']}", "95 % interval", "n", "limit", "")
    for scope in one["scopes"]:
        why = scope["why_en"]
        if scope["since"] is not None:
            why += f", since {clock(scope['since'], zone)}"
        table.add_row(
            escape(scope["scope"]),
            shown(scope["value"], kpi, currency=currency),
            interval(scope["low"], scope["high"], kpi, currency=currency),
            f"{scope['n']:,}",
            limited(scope["usual"]),
            why,
        )
    return table
