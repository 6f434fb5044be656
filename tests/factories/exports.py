"""Files as shops export them, with what each of their columns is."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
_START = datetime(2026, 11, 10, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Export:
    """A file, and what `streams.guessing` should find.

    Args:
        name: its name.
        content: its bytes; None for a file of a package, whose path is ``name``.
        columns: the role of each column, and where it matters its format after a blank.
        kind: what its rows are.
    """

    name: str
    content: bytes | None
    columns: dict[str, str]
    kind: str

    def written(self, folder: Path, data: Path) -> Path:
        """Return the path of the file; one of a package is below ``data``."""
        if self.content is None:
            return data / self.name
        path = folder / self.name
        path.write_bytes(self.content)
        return path


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ",") -> str:
    return "\n".join(delimiter.join(map(str, row)) for row in (head, *rows)) + "\n"


def _times(random_: random.Random, count: int, *, days: float = 3) -> list[datetime]:
    seconds = sorted(random_.uniform(0, days * 86_400) for _ in range(count))
    return [_START + timedelta(seconds=int(one)) for one in seconds]


def shop_clicks(rows: int = 5_000) -> str:
    """A shop's clicks: semicolons, local times, ``google / cpc``, null words, empty visitors."""
    random_ = random.Random(1)
    lines = []
    for number, at in enumerate(_times(random_, rows)):
        campaign = random_.choice(["brand", "broad", "broken", "(not set)"])
        source = random_.choice(["google / cpc", "google / organic", "newsletter / email"])
        visitor = "" if number % 333 == 7 else f"GA1.{random_.randrange(2_000)}"
        lines.append(
            (f"{at.astimezone(BERLIN):%d.%m.%Y %H:%M:%S}", visitor, source, campaign, "/sale/shoes")
        )
    head = ("Timestamp", "Visitor", "Source / Medium", "Kampagne", "Landing page")
    return _table(head, lines, ";")


def shop_orders(rows: int = 200, *, corrected: bool = False) -> str:
    """A shop's orders: e-mail addresses, totals of two styles, paid, refunded and cancelled.

    Four rows are in the file twice, two of them of refunded orders.

    Args:
        rows: the number of orders.
        corrected: whether the total of the order R10007 is 999.99, as a later export has it.
    """
    random_ = random.Random(2)
    lines = []
    for number, at in enumerate(_times(random_, rows)):
        euros, cents = random_.randrange(9, 260), random_.randrange(100)
        total = f"{euros},{cents:02d}" if number % 3 == 0 else f"{euros}.{cents:02d}"
        if number % 40 == 9:
            total = f"1.{euros:03d},{cents:02d}"
        if corrected and number == 7:
            total = "999.99"
        status = random_.choice(["paid"] * 8 + ["refunded", "cancelled"])
        campaign = random_.choice(["brand", "broad"])
        mail = f"Customer{random_.randrange(120)}@Mail.example"
        at_local = f"{at.astimezone(BERLIN):%d.%m.%Y %H:%M:%S}"
        lines.append((at_local, f"R{10_000 + number}", mail, total, status, campaign))
    lines += lines[:2] + [line for line in lines if line[4] == "refunded"][:2]
    return _table(("Ordered", "Order", "E-mail", "Total", "Status", "Kampagne"), lines, ";")


def shop_spend() -> str:
    """A shop's daily spend by campaign."""
    return _table(
        ("Day", "Campaign", "Cost"),
        [
            (f"{day}.11.2026", campaign, f"{cost},50 €")
            for day in (10, 11, 12)
            for campaign, cost in (("brand", 80), ("broad", 161), ("broken", 12))
        ],
        ";",
    )


def _hosted_shop() -> str:
    random_ = random.Random(3)
    head = ("Name", "Email", "Financial Status", "Paid at", "Fulfillment Status", "Currency",
            "Subtotal", "Shipping", "Taxes", "Total", "Discount Code", "Created at",
            "Refunded Amount", "Shipping Country")  # fmt: skip
    lines = []
    for number, at in enumerate(_times(random_, 150)):
        total = round(random_.uniform(9, 300), 2)
        status = random_.choice(
            ["paid", "paid", "paid", "refunded", "voided", "partially_refunded"]
        )
        refund = {"refunded": total, "partially_refunded": round(total / 2, 2)}.get(status, 0)
        when = f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M:%S %z}"
        lines.append((
            f"#{1001 + number}", f"c{number % 60}@mail.example", status, when, "fulfilled", "EUR",
            round(total * 0.8, 2), "4.90", round(total * 0.19, 2), total, "", when, f"{refund:.2f}",
            random_.choice(["DE", "AT", "CH"]),
        ))  # fmt: skip
    return _table(head, lines)


def _ad_network() -> bytes:
    random_ = random.Random(4)
    lines = [
        (f"2026-11-{day:02d}", campaign, "Search", f"{random_.randrange(9_000):,}", 40 + day,
         f"{random_.uniform(900, 2_000):,.2f}")
        for day in range(1, 29)
        for campaign in ("Brand | DE", "Generic | DE")
    ]  # fmt: skip
    head = ("Day", "Campaign", "Network", "Impressions", "Clicks", "Cost (EUR)")
    return ("Campaign report\nNovember 2026\n" + _table(head, lines, "\t")).encode("utf-16")


def _american_orders() -> str:
    random_ = random.Random(5)
    return _table(
        ("Order Number", "Order Date", "Customer ID", "Quantity", "Order Total", "State"),
        [
            (f"{700_000 + number}", f"{at:%m/%d/%Y %I:%M %p}", f"C{random_.randrange(50)}",
             random_.randrange(1, 5), f'"${random_.uniform(500, 2_000):,.2f}"',
             random_.choice(["CA", "NY", "TX"]))
            for number, at in enumerate(_times(random_, 200, days=12))
        ],
    )  # fmt: skip


def _lines(objects: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in objects)


def _charges() -> str:
    random_ = random.Random(6)
    return _lines(
        {
            "id": f"ch_{number}",
            "created": int(at.timestamp()),
            "amount": random_.randrange(500, 20_000),
            "amount_refunded": 500 if number % 20 == 3 else 0,
            "currency": "eur",
            "status": "failed" if number % 17 == 2 else "succeeded",
            "customer": {"id": f"cus_{random_.randrange(80)}"},
        }
        for number, at in enumerate(_times(random_, 150))
    )


def _web_events() -> str:
    random_ = random.Random(7)
    return _lines(
        {
            "event_name": random_.choice(
                ["page_view", "page_view", "click", "sign_up", "purchase"]
            ),
            "event_timestamp": int(at.timestamp() * 1000),
            "user_pseudo_id": f"{random_.randrange(300)}.{random_.randrange(9)}",
            "page_location": f"https://shop.example/a?utm_source=news&utm_campaign=c{number % 3}",
            "value": round(random_.uniform(5, 90), 2),
            "transaction_id": f"T{number}",
            "currency": "EUR",
            "geo": {"country": random_.choice(["Germany", "France"])},
        }
        for number, at in enumerate(_times(random_, 400))
    )


def _french_orders() -> bytes:
    random_ = random.Random(8)
    return _table(
        ("Date", "Heure", "Commande", "Client", "Montant", "Statut"),
        [
            (f"{at:%d/%m/%Y}", f"{at:%H:%M:%S}", f"F{number}", f"k{random_.randrange(60)}",
             f"{random_.randrange(1, 3)}\u00a0{random_.randrange(100, 999)},{number % 90 + 10} €",
             random_.choice(["payé", "payé", "annulé", "remboursé"]))
            for number, at in enumerate(_times(random_, 160, days=9))
        ],
        ";",
    ).encode("cp1252")  # fmt: skip


_MADE: list[tuple[str, Callable[[], str | bytes], dict[str, str], str]] = [
    (
        "clicks.csv",
        shop_clicks,
        {
            "Timestamp": "time %d.%m.%Y %H:%M:%S",
            "Visitor": "user_id",
            "Source / Medium": "channel",
            "Kampagne": "campaign",
            "Landing page": "page",
        },
        "clicks",
    ),
    (
        "orders.csv",
        shop_orders,
        {
            "Ordered": "time %d.%m.%Y %H:%M:%S",
            "Order": "order_id",
            "E-mail": "user_id",
            "Total": "amount",
            "Status": "status",
            "Kampagne": "campaign",
        },
        "orders",
    ),
    (
        "spend.csv",
        shop_spend,
        {"Day": "time %d.%m.%Y", "Campaign": "campaign", "Cost": "spend ,"},
        "spend",
    ),
    (
        "hosted-shop.csv",
        _hosted_shop,
        {
            "Name": "order_id",
            "Email": "user_id",
            "Financial Status": "status",
            "Paid at": "-",
            "Fulfillment Status": "-",
            "Currency": "currency",
            "Subtotal": "-",
            "Shipping": "-",
            "Taxes": "-",
            "Total": "amount .",
            "Discount Code": "-",
            "Created at": "time %Y-%m-%d %H:%M:%S %z",
            "Refunded Amount": "refund amount .",
            "Shipping Country": "region",
        },
        "orders",
    ),
    (
        "ad-network.tsv",
        _ad_network,
        {
            "Day": "time rfc3339",
            "Campaign": "campaign",
            "Network": "channel",
            "Impressions": "-",
            "Clicks": "-",
            "Cost (EUR)": "spend .",
        },
        "spend",
    ),
    (
        "american-orders.csv",
        _american_orders,
        {
            "Order Number": "order_id",
            "Order Date": "time %m/%d/%Y %I:%M %p",
            "Customer ID": "user_id",
            "Quantity": "items",
            "Order Total": "amount .",
            "State": "region",
        },
        "orders",
    ),
    (
        "charges.ndjson",
        _charges,
        {
            "id": "order_id",
            "created": "time epoch_s",
            "amount": "amount",
            "amount_refunded": "refund amount",
            "currency": "currency",
            "status": "status",
            "customer.id": "user_id",
        },
        "orders",
    ),
    (
        "web-events.ndjson",
        _web_events,
        {
            "event_name": "kind of event",
            "event_timestamp": "time epoch_ms",
            "user_pseudo_id": "user_id",
            "page_location": "page",
            "value": "amount",
            "transaction_id": "order_id",
            "currency": "currency",
            "geo.country": "region",
        },
        "events",
    ),
    (
        "commandes.csv",
        _french_orders,
        {
            "Date": "time %d/%m/%Y %H:%M:%S",
            "Heure": "clock",
            "Commande": "order_id",
            "Client": "user_id",
            "Montant": "amount ,",
            "Statut": "status",
        },
        "orders",
    ),
]

SHOP_LOG = Export(
    "retentioneering/datasets/data/simple-onlineshop.csv",
    None,
    {"user_id": "user_id", "event": "kind of event", "timestamp": "time rfc3339"},
    "events",
)
SHOP_TEST = Export(
    "retentioneering/datasets/data/ab_test_demo.csv",
    None,
    {
        "user_id": "user_id",
        "event": "kind of event",
        "timestamp": "time rfc3339",
        "user_backet": "segment",
        "transaction_value": "amount .",
        "transaction_ID": "order_id",
    },
    "events",
)
CDNOW = Export(
    "lifetimes/datasets/CDNOW_master.txt",
    None,
    {
        "customer_id": "user_id",
        "date": "time %Y%m%d",
        "number_of_cds": "items",
        "dollar_value": "amount .",
    },
    "orders",
)
PURCHASES = Export(
    "lifetimes/datasets/example_transactions.csv",
    None,
    {"date": "time rfc3339", "id": "user_id"},
    "visits",
)


def exports() -> list[Export]:
    """Return the files: nine that are made here, and four of packages."""
    made = []
    for name, content, columns, kind in _MADE:
        text = content()
        made.append(Export(name, text.encode() if isinstance(text, str) else text, columns, kind))
    return [*made, SHOP_LOG, SHOP_TEST, CDNOW, PURCHASES]
