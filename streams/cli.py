"""The command ``kpi-monitor``: its subcommands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import typer

from models.dead_letters import Reason
from streams import settings
from streams.commands.backtest import backtest
from streams.commands.boards import boards
from streams.commands.calendar import calendar
from streams.commands.check import check
from streams.commands.customers import customers
from streams.commands.dead_letters import dead_letters
from streams.commands.demo import demo
from streams.commands.feed import feed
from streams.commands.init import init
from streams.commands.kpis import kpis
from streams.commands.options import err, out, say
from streams.commands.rates import rates
from streams.commands.reset import reset
from streams.commands.rules import rules
from streams.commands.services import services
from streams.commands.topics import topics
from streams.commands.worker import worker
from streams.errors import MonitorError

cli = typer.Typer(
    name="kpi-monitor",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Compute marketing KPIs in rolling windows from Kafka: metrics, alerts, a live page.\n\n"
    "Set every setting as an environment variable KPI_NAME or in a .env file. The common ones "
    "are options, too.",
)


@cli.callback()
def _warn() -> None:
    for text in settings.unknown_variables():
        say(err, f"warning: {text}")


EXAMPLES: dict[Callable[..., None], str] = {
    worker: "kpi-monitor worker --kafka kafka:9092 --rules config/rules.yaml --id w0",
    init: "kpi-monitor init clicks.csv orders.csv spend.csv --folder shop",
    feed: "kpi-monitor feed --rate 500 --for 60 --scenario checkout-outage@30 | "
    "kpi-monitor feed log.csv --mapping map.yaml --dry-run",
    check: "kpi-monitor check --rules config/rules.yaml --offline",
    backtest: "kpi-monitor backtest --project shop/shop.yaml | "
    "kpi-monitor backtest log.csv --mapping map.yaml --rules config/rules.yaml --json result.json",
    rules: "kpi-monitor rules | kpi-monitor rules --rule conversion-low --limit 50",
    kpis: "kpi-monitor kpis | kpi-monitor kpis --kpis config/kpis.yaml",
    calendar: "kpi-monitor calendar --calendar config/calendar.yaml --year 2026",
    rates: "kpi-monitor rates config/rates.yaml --kafka kafka:9092",
    topics: "kpi-monitor topics --kafka kafka:9092 | kpi-monitor topics --verify-keys",
    customers: "kpi-monitor customers | kpi-monitor customers --rebuild",
    dead_letters: "kpi-monitor dead-letters | kpi-monitor dead-letters --redrive | "
    f"kpi-monitor dead-letters --reason {Reason.UNKNOWN_CURRENCY} --redrive",
    reset: "kpi-monitor reset | kpi-monitor reset --sources --yes",
    services: "kpi-monitor services --data data/services",
    demo: "kpi-monitor demo --for 90s --json report.json",
    boards: "kpi-monitor boards --grafana https://grafana.example.org",
}
"""The subcommands in the order of the help, with examples that end their own help."""

for _command, _examples in EXAMPLES.items():
    _word = "Examples" if " | " in _examples else "Example"
    cli.command(_command.__name__.replace("_", "-"), epilog=f"{_word}: {_examples}")(_command)


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(metadata.version("streaming-kpi-monitor"))


def main() -> None:
    """Run the command; an error that the user can fix prints one message and exits with 2."""
    try:
        result: Any = cli(standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except typer.Abort:
        sys.exit(130)
    except MonitorError as error:
        say(err, f"kpi-monitor: {error}")
        sys.exit(2)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(result if isinstance(result, int) else 0)
