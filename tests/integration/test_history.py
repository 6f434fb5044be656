"""History from files, on a real Kafka and Valkey: merged, resumed, corrected, started over."""

from __future__ import annotations

import csv
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.kafka import EmbeddedKafka
from streams.embedded.valkey import EmbeddedValkey
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAYS = 3
USERS = 150
PARTITIONS = 4
LENGTHS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24)}
"""Windows of a fixed length."""
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
PROJECT = """\
time_zone: UTC
currency: EUR
campaigns: campaigns.yaml
files:
  - {file: clicks.csv, mapping: clicks.yaml}
  - {file: orders.csv, mapping: orders.yaml}
  - {file: refunds.csv, mapping: refunds.yaml}
  - {file: spend.csv, mapping: spend.yaml}
"""
CLICKS = """\
delimiter: ";"
time: {value: "{Time}", format: "%d.%m.%Y %H:%M:%S", zone: UTC}
events:
  - {type: click, fields: {user_id: "{Visitor}", campaign: "{Campaign}"}}
"""
ORDERS = """\
delimiter: ";"
numbers: {decimal: ","}
time: {value: "{Time}", format: "%d.%m.%Y %H:%M:%S", zone: UTC}
events:
  - type: order_placed
    fields: {user_id: "{Customer}", order_id: "{Order}", amount: "{Total}", currency: EUR}
"""
REFUNDS = """\
time: {value: "{Time}", format: "%d.%m.%Y %H:%M:%S", zone: UTC}
events:
  - type: order_refunded
    fields:
      user_id: "{Customer}"
      order_id: "{Order}"
      amount: "{Total}"
      currency: EUR
"""
SPEND = """\
time: {value: "{Time}", format: "%d.%m.%Y %H:%M:%S", zone: UTC}
events:
  - type: spend_reported
    fields: {campaign_id: "{Campaign}", channel: search, amount: "{Cost}", currency: EUR}
"""


class Shop:
    """The exports of a shop in a folder, with rows in no order, and what they add up to.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        chance = random.Random(7)
        self.clicks = [
            (_at(chance), f"u{chance.randrange(USERS)}", chance.choice(["brand", "winter"]))
            for _ in range(3_000)
        ]
        self.orders = [
            (_at(chance), f"u{chance.randrange(USERS)}", f"R{number}", chance.randrange(100, 9_999))
            for number in range(300)
        ]
        refunded = [one for one in self.orders if one[0] < START + timedelta(days=2)][::9]
        self.refunds = [
            (at + timedelta(hours=6), user, order, cents // 2)
            for at, user, order, cents in refunded
        ]
        spend = [("brand", 9_050), ("winter", 12_000)]
        self.spend = [
            (START + timedelta(days=day, hours=23), name, cents)
            for day in range(DAYS)
            for name, cents in spend
        ]
        (folder / "shop.yaml").write_text(PROJECT)
        (folder / "campaigns.yaml").write_text(
            "campaigns: [{id: brand, channels: [search]}, {id: winter, channels: [search]}]\n"
        )
        for name, mapping in [
            ("clicks", CLICKS),
            ("orders", ORDERS),
            ("refunds", REFUNDS),
            ("spend", SPEND),
        ]:
            (folder / f"{name}.yaml").write_text(mapping)
        self.write()

    def write(self) -> None:
        """Write the files."""
        self._csv("clicks", ("Time", "Visitor", "Campaign"), self.clicks, delimiter=";")
        orders = [(*row, f"{cents / 100:.2f}".replace(".", ",")) for *row, cents in self.orders]
        self._csv("orders", ("Time", "Customer", "Order", "Total"), orders, delimiter=";")
        refunds = [(*row, f"{cents / 100:.2f}") for *row, cents in self.refunds]
        self._csv("refunds", ("Time", "Customer", "Order", "Total"), refunds)
        spend = [(*row, f"{cents / 100:.2f}") for *row, cents in self.spend]
        self._csv("spend", ("Time", "Campaign", "Cost"), spend)

    def _csv(
        self, name: str, columns: tuple[str, ...], rows: list[Any], *, delimiter: str = ","
    ) -> None:
        with (self.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(columns)
            for at, *rest in rows:
                writer.writerow([f"{at:%d.%m.%Y %H:%M:%S}", *rest])

    @property
    def rows(self) -> int:
        """The number of rows of all files."""
        return sum(map(len, (self.clicks, self.orders, self.refunds, self.spend)))

    def totals(self) -> dict[str, Decimal]:
        """Return the KPIs of everything, calculated from the rows."""
        gross = sum(cents for *_, cents in self.orders)
        refunded = sum(cents for *_, cents in self.refunds)
        spent = sum(cents for *_, cents in self.spend)
        return {
            "clicks": Decimal(len(self.clicks)),
            "unique_visitors": Decimal(len({user for _, user, _ in self.clicks})),
            "orders": Decimal(len(self.orders)),
            "revenue_gross": Decimal(gross) / 100,
            "revenue_net": Decimal(gross - refunded) / 100,
            "spend": Decimal(spent) / 100,
        }

    def clicks_by_campaign(self) -> dict[str, int]:
        """Return the number of clicks of each campaign."""
        return dict(Counter(name for *_, name in self.clicks))

    def orders_by_campaign(self) -> dict[str, int]:
        """Return the number of orders of each campaign that had the last click before them."""
        last = (
            max(
                (at, name)
                for at, visitor, name in [*self.clicks, (START, user, "(none)")]
                if visitor == user and at <= ordered
            )[1]
            for ordered, user, *_ in self.orders
        )
        return dict(Counter(last))


def _at(chance: random.Random) -> datetime:
    """Return a time in the three days; whole seconds, as exports have them."""
    return START + timedelta(seconds=chance.randrange(DAYS * 86_400))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The exports of a shop."""
    return Shop(tmp_path)


@pytest.fixture
def cluster(kafka: EmbeddedKafka, valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Cluster]:
    """A deployment for the project of the shop."""
    settings = {
        "KPI_REDIS": valkey.url,
        "KPI_SESSION_TIMEOUT_S": "3",
        "KPI_DATA_DIR": str(tmp_path / "data-w0"),
        "KPI_CURRENCY": "EUR",
    }
    made = Cluster(kafka.address, tmp_path, settings)
    made.command("topics", "--create")
    yield made
    made.stop()


def reached(cluster: Cluster, shop: Shop) -> dict[str, Any]:
    """Wait until the totals of the page are those of the files; return the live view."""
    expected = shop.totals()

    def shown(live: dict[str, Any]) -> dict[str, Decimal]:
        values = live["totals"].get("so_far", {})
        return {
            name: Decimal(str((values.get(name) or {}).get("value") or 0)).quantize(Decimal("0.01"))
            for name in expected
        }

    live: dict[str, Any] = {}
    try:
        live = cluster.until(lambda one: shown(one) == expected, timeout_s=120, why=str(expected))
    except AssertionError as error:
        raise AssertionError(f"{shown(cluster.owner())}\n{error}") from None
    assert live["health"]["dead_letters"] == live["health"]["duplicates"] == 0
    assert live["health"]["counted"] == shop.rows
    return live


def by_campaign(live: dict[str, Any], kpi: str) -> dict[str, int]:
    """Return the values above zero of a KPI of everything to date, by campaign."""
    values = {
        one["campaign"]: one["windows"]["so_far"][kpi]["value"]
        for one in live["campaigns"]
        if kpi in one["windows"].get("so_far", {})
    }
    return {name: value for name, value in values.items() if value}


def test_the_last_windows_close(cluster: Cluster, shop: Shop) -> None:
    """Seconds after a feed was read, windows up to its last quarter of an hour are on the page.

    The last click is of 18:07:12. Without the statement of `feed` that it is complete through
    18:15, that end would be reached seven minutes later. Quiet minutes at the ends of the hour
    let its value be the same while time goes on.
    """
    day = START + timedelta(days=DAYS - 1)
    last, end = day + timedelta(hours=18, minutes=7, seconds=12), day + timedelta(hours=18.25)
    quiet = [(end - hours, end - hours + timedelta(minutes=5)) for hours in LENGTHS.values()]

    def kept(at: datetime) -> bool:
        return at < last and not any(start <= at < until for start, until in quiet)

    shop.clicks = [*(one for one in shop.clicks if kept(one[0])), (last, "u1", "brand")]
    shop.orders = [one for one in shop.orders if kept(one[0])]
    shop.refunds = shop.refunds[:3]
    shop.spend = [one for one in shop.spend if one[0] < day]
    shop.write()
    cluster.start("w0")
    project = str(shop.folder / "shop.yaml")
    fed = cluster.command("feed", "--all", project).stdout
    assert f"complete through {end:%d %b %Y %H:%M} UTC (clicks" in fed
    expected = {
        window: (
            sum(end - length <= at for at, *_ in shop.clicks),
            sum(end - length <= at for at, *_ in shop.orders),
        )
        for window, length in {**LENGTHS, "day": end - day}.items()
    }
    fed_at = time.monotonic()

    def shown(live: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        return {
            window: tuple(
                (live["totals"].get(window, {}).get(kpi) or {}).get("value")
                for kpi in ("clicks", "orders")
            )
            for window in expected
        }

    live = cluster.until(lambda one: shown(one) == expected, timeout_s=60, why=str(expected))
    assert time.monotonic() - fed_at < 60
    health = live["health"]
    assert health["events"] == health["counted"] == shop.rows
    assert (health["duplicates"], health["mis_keyed"]) == (0, 0)
    assert (health["dead_letters"], health["silent"]) == (0, [])
    assert not live["incomplete"]["day"]

    # The statements are of nobody, and a file that is fed later is told of them.
    keys = cluster.command("topics", "--verify-keys").stdout
    assert re.search(rf"{cluster.topic('orders')} +│ +{len(shop.orders) + 3 + PARTITIONS} +│", keys)
    again = cluster.command("feed", "--all", project, check=False)
    assert again.returncode == 2
    assert "UTC, as an earlier feed said at its end" in again.stderr
    assert "--through none" in again.stderr


def test_corrected(cluster: Cluster, shop: Shop) -> None:
    """Files of all topics are merged, and a corrected one leaves the corrected totals only."""
    project = str(shop.folder / "shop.yaml")
    tried = cluster.command("feed", "--all", project, "--dry-run").stdout
    assert f"the monitor would count {shop.rows:,} of {shop.rows:,} events" in tried
    cluster.start("w0")
    fed = cluster.command("feed", "--all", project).stdout
    for name, rows in [("clicks", 3_000), ("orders", 300), ("spend", 6)]:
        assert f"{shop.folder / name}.csv: {rows:,} rows" in fed
    assert f"{shop.rows:,} of {shop.rows:,} events sent" in fed
    live = reached(cluster, shop)
    assert by_campaign(live, "clicks") == shop.clicks_by_campaign()
    assert by_campaign(live, "orders") == shop.orders_by_campaign()

    # A corrected file alone comes too late: it is refused, and the message says what to do.
    at, user, order, cents = shop.orders[5]
    shop.orders[5] = (at, user, order, cents + 1_000)
    del shop.orders[17]
    shop.write()
    mapping = str(shop.folder / "orders.yaml")
    again = cluster.command(
        *("feed", str(shop.folder / "orders.csv"), "--mapping", mapping, "--speed", "max"),
        check=False,
    )
    assert again.returncode == 2
    assert f"events are too late for the topic {cluster.topic('orders')}" in again.stderr
    assert "`kpi-monitor reset --sources`" in again.stderr

    cluster.workers.pop().child.stop()
    cluster.command("reset", "--sources", "--yes")
    cluster.start("w0")
    cluster.command("feed", "--all", project)
    reached(cluster, shop)


def test_one_file_after_the_other(cluster: Cluster, shop: Shop) -> None:
    """Refunds that are fed after the orders of the same days are refused, before any is sent."""
    orders, refunds = (
        ("feed", str(shop.folder / f"{name}.csv"), "--mapping", str(shop.folder / f"{name}.yaml"))
        for name in ("orders", "refunds")
    )
    cluster.command(*orders, "--speed", "max")
    done = cluster.command(*refunds, "--speed", "max", check=False)
    assert done.returncode == 2
    assert f"of {len(shop.refunds)} events are too late" in done.stderr
    sent = cluster.command(*refunds, "--speed", "max", "--late").stdout
    assert f"{len(shop.refunds)} of {len(shop.refunds)} events sent" in sent


def test_faults_of_all_files(cluster: Cluster, shop: Shop) -> None:
    """What is wrong with any of the files is reported at once, and nothing is sent."""
    project = shop.folder / "shop.yaml"
    mapping = shop.folder / "orders.yaml"
    mapping.write_text(mapping.read_text().replace("{Order}", "{Ordre}"))
    mapping = shop.folder / "spend.yaml"
    mapping.write_text(mapping.read_text().replace("spend_reported", "spent_reported"))
    done = cluster.command("feed", "--all", str(project), check=False)
    assert done.returncode == 2
    assert "orders.csv has no column 'Ordre'; did you mean Order?" in done.stderr
    assert "no event type 'spent_reported'" in done.stderr
    project.write_text(PROJECT.replace("refunds.csv", "refund.csv"))
    done = cluster.command("feed", "--all", str(project), check=False)
    assert f"{project}: line 7: files[2].file: there is no file" in done.stderr
