"""``kpi-monitor kpis``: list the KPIs and measurements."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from streams import config, settings
from streams.commands.options import KpisFile, err, out, say


def kpis(kpis: KpisFile = None) -> None:
    """List the KPIs and your own measurements, and warn about questionable definitions."""
    book = config.load_kpis(settings.load(kpis_file=kpis).kpis_file)
    catalogue = book.catalogue
    table = Table()
    table.add_column("KPI", no_wrap=True)
    table.add_column("名称", no_wrap=True)
    for head in ("formula", "unit", "better", "interval"):
        table.add_column(head, overflow="fold")
    for kpi in catalogue.values():
        interval = "" if kpi.interval == "none" else kpi.interval
        table.add_row(kpi.name, kpi.title_zh, kpi.formula, kpi.unit, kpi.direction, interval)
    out.print(table)
    if book.measurements:
        declared = Table("measurement", "名称", "kind", "what it is")
        for one in book.measurements:
            declared.add_row(one.name, one.title_zh, one.kind, escape(one.help))
        out.print(declared)
    out.print(f"{len(catalogue)} KPIs, {len(book.measurements)} measurements of your own")
    for warning in catalogue.lint():
        say(err, f"warning: {warning}")
