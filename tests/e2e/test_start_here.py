"""`init`, and docs/start-here.md, played: the numbers are those of the files."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from tests.factories import exports
from tests.support.cluster import Cluster

ADDRESSES = {"KPI_KAFKA", "KPI_REDIS"}
ELSEWHERE = ("python3 -m venv", ". .venv", "kpi-monitor services")
"""Lines that the fixtures of tests stand for."""


def _lines(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


def _totals(orders: Path) -> dict[str, Decimal]:
    """Return the totals by SQL over the file of orders; spend is of `exports.shop_spend`."""
    number = (
        "CASE WHEN Total LIKE '%,%' THEN replace(replace(Total, '.', ''), ',', '.') ELSE Total END"
    )
    ((count, gross, refunded),) = duckdb.sql(
        f'WITH o AS (SELECT DISTINCT Status, "Order", CAST({number} AS DECIMAL(18, 2)) AS money '
        f"FROM read_csv('{orders}', delim = ';', all_varchar = true)) "
        "SELECT count(*), sum(money), sum(money) FILTER (Status = 'refunded') FROM o "
        "WHERE Status <> 'cancelled'"
    ).fetchall()
    return {
        "clicks": Decimal(5_000),
        "orders": Decimal(count),
        "revenue_gross": gross,
        "revenue_net": gross - refunded,
        "refund_outflow": refunded,
        "spend": Decimal("763.5"),
    }


@pytest.mark.integration
def test_each_command_of_start_here(
    kafka: EmbeddedKafka,
    valkey: EmbeddedValkey,
    tmp_path: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page's commands give the totals of the files, and then those of the corrected file."""
    monkeypatch.chdir(tmp_path)
    Path("clicks.csv").write_text(exports.shop_clicks())
    Path("orders.csv").write_text(exports.shop_orders())
    Path("corrected.csv").write_text(exports.shop_orders(corrected=True))
    Path("spend.csv").write_text(exports.shop_spend())
    settings = {"KPI_REDIS": valkey.url, "KPI_DATA_DIR": str(tmp_path / "data-w0")}
    cluster = Cluster(kafka.address, tmp_path, {**settings, "KPI_SESSION_TIMEOUT_S": "3"})
    wanted = iter([_totals(Path("orders.csv")), _totals(Path("corrected.csv"))])
    initial = ""
    try:
        for line in _lines((repository / "docs" / "start-here.md").read_text(encoding="utf-8")):
            word, *arguments = shlex.split(line)
            if word == "export":
                name, _, value = arguments[0].partition("=")
                if name not in ADDRESSES:
                    assert line in initial
                    cluster.settings[name] = value
                continue
            if word == "cp":
                Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes())
                continue
            assert word == "kpi-monitor"
            if arguments[0] != "worker":
                if arguments[0] == "reset":
                    cluster.workers.pop().child.stop()
                done = cluster.command(*arguments)
                initial = initial or done.stdout
                continue
            cluster.start("w0", *arguments[1:])
            totals = next(wanted)
            cluster.until(
                lambda live, totals=totals: _shown(live, totals), timeout_s=150, why=str(totals)
            )
    finally:
        cluster.stop()
    assert next(wanted, None) is None


def _shown(live: dict[str, object], wanted: dict[str, Decimal]) -> bool:
    shown = live["totals"].get("so_far", {})  # type: ignore[attr-defined]
    values = {name: (shown.get(name) or {}).get("value") for name in wanted}
    return all(
        value is not None and round(Decimal(str(value)), 2) == wanted[name]
        for name, value in values.items()
    )
