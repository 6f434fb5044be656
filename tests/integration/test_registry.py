"""What workers learn while they run, from events and from each other through the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.kafka import EmbeddedKafka
from tests.support.cluster import Cluster
from tests.support.offline import event

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def cluster(kafka: EmbeddedKafka, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(kafka.address, tmp_path)
    made.command("topics", "--create")
    yield made
    made.stop()


def test_campaign_defined_by_event(cluster: Cluster, tmp_path: Path) -> None:
    """A campaign that an event defines is known to every worker from then on."""
    now = int(time.time() * 1000)
    cluster.start("a")
    cluster.start("b")
    cluster.until(lambda live: live["health"].get("sources_reporting") == 12, why="both run")
    cluster.send(
        "campaigns",
        [
            (
                "c7",
                event("campaign_defined", at=now, campaign_id="c7", name="七号", aliases=["seven"]),
            )
        ],
    )
    deadline = time.monotonic() + 30
    while not list(cluster.read("registry")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.5)  # followers poll the registry twice a second
    users = [f"u{number}" for number in range(40)]
    cluster.send(
        "clicks",
        [
            (user, event(at=now, event_id=user, user_id=user, campaign_id=None, campaign="Seven"))
            for user in users
        ],
    )
    live = cluster.until(
        lambda live: live["health"].get("counted") == 41 and live["campaigns"], why="41 events"
    )
    assert live["unknown"] == {}
    assert [row["campaign"] for row in live["campaigns"]] == ["c7"]
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules: [{name: r, kind: threshold, kpi: clicks, above: 9, scope: campaign,\n"
        "  match: {campaign: [c7, Seven, c8]}}]\n"
    )
    found = cluster.command("check", "--rules", str(rules)).stderr
    assert f"{rules}: line 2: rules[0].match.campaign: 'Seven' is a name of campaign c7" in found
    assert "no campaign 'c8' is known" in found
    assert "'c7'" not in found


def test_a_rate_from_the_registry_makes_foreign_money_count(
    cluster: Cluster, tmp_path: Path
) -> None:
    rates = tmp_path / "rates.yaml"
    rates.write_text('rates: [{currency: USD, date: 2020-01-01, rate: "7.1834"}]\n')
    now = int(time.time() * 1000)
    order = event("order_placed", at=now, event_id="usd", amount="10", currency="USD")
    cluster.send("orders", [("u1", order)])
    cluster.start()
    cluster.until(lambda live: live["health"].get("dead_letters") == 1, why="no rate is known")
    cluster.command("rates", str(rates))
    time.sleep(2)  # every worker reads the registry within half a second
    cluster.command("dead-letters", "--redrive")
    picture = cluster.until(
        lambda live: live["totals"].get("5m", {}).get("revenue_gross", {}).get("value"),
        why="the order counts",
    )
    assert picture["totals"]["5m"]["revenue_gross"]["value"] == 71.834
