"""The dry run: what the monitor would count of a file, and why KPIs stay absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from models.campaigns.campaign import Budget, Campaign
from models.kpi.catalogue import CATALOGUE
from models.money.exchange_rates import Rates
from streams.feed.dry_run import DryRun, Monitor, dry_run
from streams.feed.events.file_set import FileSet
from streams.feed.events.mapped_file import MappedFile
from streams.feed.sample_table import sample_table
from streams.ingest.registry.campaign_index import CampaignIndex
from tests.factories.feed import read
from tests.support.offline import RULES

NOW_MS = 1_795_700_000_000
MAPPING = """\
time: {value: "{t}", format: "%d.%m.%Y %H:%M", zone: UTC}
events:
  - type: order_placed
    fields: {user_id: "{u}", order_id: "{o}", amount: "{a}", currency: "{c}", campaign: "{k}"}
  - type: order_refunded
    when: {s: refunded}
    fields: {user_id: "{u}", order_id: "{o}", amount: "{a}", currency: "{c}", campaign: "{k}"}
"""
HEAD = "t,u,o,a,c,k,s\n"


def tried(
    rows: MappedFile, *, customers: bool = False, campaigns: tuple[Campaign, ...] = ()
) -> DryRun:
    """Return the dry run of a file."""
    monitor = Monitor(RULES, CampaignIndex(campaigns), Rates("EUR"), CATALOGUE, customers=customers)
    return dry_run(FileSet(rows.path, [rows]).named_events(), monitor, now_ms=NOW_MS)


def reasons(found: DryRun) -> dict[str, str]:
    """Return why each absent KPI is so."""
    return {name: reason for reason, names in found.absent.items() for name in names}


def test_what_would_not_count(tmp_path: Path) -> None:
    """Dead letters have the lines of their rows; unknown names and guests are reported."""
    text = (
        f"{HEAD}25.11.2026 10:00,u1,o1,5.00,EUR,brand,paid\n"
        "25.11.2026 09:00,u2,o2,5.00,USD,brnd,refunded\n"
        "25.12.2026 10:00,u3,o3,5.00,EUR,,paid\n"
        "25.11.2026 11:00,,o4,5.00,EUR,,paid\n"
    )
    brand = Campaign(id="1", name="Brand")
    found = tried(read(tmp_path, text, MAPPING), campaigns=(brand,))
    assert {reason: rows.count for reason, rows in found.dead.items()} == {
        "unknown_currency": 2,
        "far_future": 1,
    }
    assert found.dead["unknown_currency"].first == [
        (3, "no rate of USD is known; known: EUR"),
        (3, "no rate of USD is known; known: EUR"),
    ]
    assert found.dead["far_future"].first == [(4, "event_time is ahead of the broker's clock")]
    assert (found.stats.records, found.stats.counted, found.dead_letters) == (5, 2, 3)
    lines = "\n".join(found.lines())
    assert "would count 2 of 5 events" in lines
    assert "1 event of guests" in lines
    assert "1 event with a campaign that is shown by another name (spelling)" in lines
    unknown = tried(read(tmp_path, text, MAPPING))
    assert "1 event with a campaign that is not defined: 'brand'" in "\n".join(unknown.lines())


def test_lines_of_many_rows(tmp_path: Path) -> None:
    """Rows are found again however many events were before them, and whatever their order."""
    rows = [f"25.11.2026 {at // 60:02d}:{at % 60:02d},u,o{at},1,EUR,,paid\n" for at in range(1_300)]
    rows[700] = rows[700].replace("EUR", "GBP")
    found = tried(read(tmp_path, HEAD + "".join(reversed(rows)), MAPPING))
    assert found.stats.counted == 1_299
    assert [line for line, _ in found.dead["unknown_currency"].first] == [1_300 - 700 + 1]


def test_why_kpis_are_absent(tmp_path: Path) -> None:
    """A KPI has no value without its inputs, its needs, customers or a budget, and says which."""
    text = f"{HEAD}25.11.2026 10:00,u1,o1,5.00,EUR,,paid\n"
    why = reasons(tried(read(tmp_path, text, MAPPING)))
    assert "orders" not in why
    assert "revenue_net" not in why
    assert why["conversion_rate"] == "no clicks"
    assert why["unique_visitors"] == "no clicks or visits"
    assert why["cpm"] == "no spend_reports, no impressions"
    assert why["new_customers"] == "customers are not stored; set KPI_REDIS"
    assert "new_customers" not in reasons(tried(read(tmp_path, text, MAPPING), customers=True))


def test_costs_and_budgets(tmp_path: Path) -> None:
    """Costs of a period are inputs, too; budgets need a campaign that has one."""
    mapping = """\
time: {value: "{day}", format: "%d.%m.%Y", zone: UTC}
events:
  - type: spend_reported
    fields:
      campaign_id: "1"
      amount: "{cost}"
      currency: EUR
      period: {value: "{day}", date: "%d.%m.%Y"}
"""
    rows = read(tmp_path, "day,cost\n25.11.2026,5\n", mapping)
    why = reasons(tried(rows))
    assert "spend" not in why
    assert why["budget_used"] == "no campaign has a budget"
    budget = Budget(amount=10, currency="EUR")
    assert "budget_used" not in reasons(tried(rows, campaigns=(Campaign(id="1", budget=budget),)))


def test_repeated_ids(tmp_path: Path) -> None:
    """Events with an id that was there before would not count, and the key is named."""
    text = f"{HEAD}25.11.2026 10:00,u1,o1,5.00,EUR,,paid\n"
    text += "25.11.2026 10:01,u1,o2,5.00,EUR,,paid\n"
    found = tried(read(tmp_path, text, f'event_id: "{{u}}"\n{MAPPING}'))
    assert (found.stats.counted, found.stats.duplicates) == (2, 0)
    text = text.replace("10:01", "10:00")
    found = tried(read(tmp_path, text, f'event_id: "{{u}}"\n{MAPPING}'))
    assert (found.stats.counted, found.stats.duplicates) == (1, 1)
    assert "1 event with the id of one before" in "\n".join(found.lines())


@pytest.mark.parametrize("text", ["25.11.2026 10:00,u1,o1,5.00,EUR,[b]rand,refunded\n"])
def test_rows_and_events_side_by_side(text: str, tmp_path: Path) -> None:
    """The first rows are shown with all their events, and a readable time."""
    mapping = MAPPING.replace('order_id: "{o}"', 'order_id: "shop-{event_id}"')
    rows = read(tmp_path, HEAD + text * 9, mapping)
    assert len(rows.samples) == 2
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(sample_table(rows.samples))
    shown = captured.get()
    for part in (
        "k: [b]rand",
        "order_id: shop-(id of the event)",
        "t: 25.11.2026 10:00",
        "event_time: 2026-11-25T10:00:00Z",
    ):
        assert part in shown
    assert shown.count("type: order_refunded") == 2
    assert "event_id: " not in shown


def test_nothing_of_it_is_kept(tmp_path: Path) -> None:
    """A dry run changes no event: a run after it sends the same."""
    rows = read(tmp_path, f"{HEAD}25.11.2026 10:00,u1,o1,5.00,EUR,,paid\n", MAPPING)
    before: list[Any] = [json.loads(event.value) for event in rows.sorter.events()]
    tried(rows)
    assert [json.loads(event.value) for event in rows.sorter.events()] == before


JOURNEYS = """\
time: {value: "{t}", format: "%d.%m.%Y %H:%M", zone: UTC}
events:
  - {type: click, when: {what: click}, fields: {user_id: "{u}"}}
  - type: order_placed
    when: {what: order}
    fields: {user_id: "{u}", order_id: "{o}", amount: "5", currency: EUR}
  - {type: identity, when: {what: link}, fields: {user_id: "{u}", same_as: "{o}"}}
"""
APART = "t,what,u,o\n25.11.2026 10:00,click,cookie-1,\n25.11.2026 12:00,order,erin@shop,o1\n"


@pytest.mark.parametrize(
    ("text", "line", "absent"),
    [
        (APART, "none of 1 order has a click of its user", "no order with a click of its user"),
        (
            f"{APART}25.11.2026 12:01,order,cookie-1,o2\n",
            "with a click of their user before them: 1 of 2 (50%)",
            None,
        ),
        (
            f"{APART}25.11.2026 11:59,link,erin@shop,cookie-1\n",
            "with a click of their user before them: 1 of 1 (100%)",
            None,
        ),
        (
            f"{APART}25.11.2026 12:01,link,erin@shop,cookie-1\n",
            "none of 1 order has a click of its user",
            "no order with a click of its user",
        ),
        ("t,what,u,o\n25.11.2026 12:00,order,u1,o1\n", None, "no clicks"),
    ],
)
def test_joins(tmp_path: Path, text: str, line: str | None, absent: str | None) -> None:
    """The dry run says how many orders have a click of their user, and what is absent without."""
    found = tried(read(tmp_path, text, JOURNEYS), customers=True)
    lines = "\n".join(found.lines())
    assert (line in lines) if line else ("click of" not in lines)
    reason = reasons(found).get("attribution_spread")
    assert reason is None if absent is None else (reason or "").startswith(absent)


def test_orders_refunded_twice(tmp_path: Path) -> None:
    """Orders that are refunded for more than they cost are named; equal events may count once."""
    text = (
        f"{HEAD}25.11.2026 10:00,u1,o1,30.53,EUR,,refunded\n"
        "25.11.2026 10:00,u1,o1,30.53,EUR,,refunded\n"
        "25.11.2026 11:00,u2,o2,9.00,EUR,,paid\n"
        "25.11.2026 11:00,u2,o2,9.00,EUR,,paid\n"
    )
    told = "1 order is refunded for more than the cost, such as o1: 61.06 of 30.53, the last in"
    lines = [*tried(read(tmp_path, text, MAPPING)).lines()]
    assert any(f"  {told} line 3; if the export repeats rows" in line for line in lines)
    once = f"equal_events: once\n{MAPPING}"
    found = tried(read(tmp_path, text, once))
    assert not any("is refunded" in line for line in found.lines())
    assert (found.stats.records, found.stats.counted, found.stats.duplicates) == (6, 3, 3)


def test_refunds_in_parts(tmp_path: Path) -> None:
    """Parts of an order, and refunds of orders or in currencies that are not there, are not."""
    text = f"{HEAD}25.11.2026 10:00,u1,o1,30.00,EUR,,paid\n25.11.2026 11:00,u1,o2,5.00,EUR,,paid\n"
    parts = (
        "events:\n"
        "  - type: order_placed\n"
        '    fields: {user_id: "{u}", order_id: "{o}", amount: "{a}", currency: EUR}\n'
        "  - type: order_refunded\n"
        '    fields: {user_id: "{u}", order_id: o1, amount: 15, currency: EUR}\n'
        "  - type: order_refunded\n"
        '    fields: {user_id: "{u}", order_id: "x{o}", amount: 15, currency: EUR}\n'
        "  - type: order_refunded\n"
        '    fields: {user_id: "{u}", order_id: o2, amount: 15, currency: USD}\n'
    )
    mapping = MAPPING.partition("events:")[0] + parts
    assert tried(read(tmp_path, text, mapping)).refunds.line() is None
