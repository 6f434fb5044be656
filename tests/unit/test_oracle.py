"""The reference calculation itself, on examples that were worked out by hand."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import polars as pl
import pytest

from tests.factories.times import NEW_YORK, ms
from tests.support import month, oracle
from tests.support.attribution_sql import Customers
from tests.support.compare import differences, published, same
from tests.support.month import Month
from tests.support.oracle import Value

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


NOON = ms("2023-03-01T12:00:00+00:00")


def events(*rows: dict[str, Any], at: int = NOON - 1) -> pl.DataFrame:
    """Events of one user in one campaign, unless they say otherwise."""
    usual = {"event_time_ms": at, "user_id": "u", "campaign": "c", "channel": "web"}
    names = {name for row in rows for name in row} | usual.keys()
    return pl.DataFrame(
        [usual | row for row in rows],
        schema={name: kind for name, kind in oracle.SCHEMA.items() if name in names},
    )


def several(kind: str, name: str, *numbers: int, **others: Any) -> list[dict[str, Any]]:
    return [{"kind": kind, name: number, **others} for number in numbers]


def at_noon(**examples: list[dict[str, Any]]) -> dict[str, dict[str, Value]]:
    """The KPIs of each example, in a campaign of its own, in the minute that ends at noon."""
    table = events(*({"campaign": name} | row for name, rows in examples.items() for row in rows))
    found = oracle.values(table, [("1m", NOON - MINUTE, NOON)], "UTC")
    return {name: found["1m", NOON, "campaign", name, "", "", ""] for name in examples}


def about(value: Value) -> tuple[Any, ...]:
    """What is said of a KPI, to six digits."""
    return tuple(
        pytest.approx(number, rel=1e-6, abs=1e-9) if isinstance(number, float) else number
        for number in value[:5]
    )


@pytest.fixture(scope="module")
def examples() -> dict[str, dict[str, Value]]:
    costs = [("ads", 1_000_000), ("channel", 600_000), ("labour", 400_000)]
    spends = [
        row for cost, units in costs for row in several("spend", "amount", units, metric=cost)
    ]
    return at_noon(
        shares=[
            {"kind": "impression", "count": 10},
            *[{"kind": "click"}] * 2,
            *[{"kind": "lead", "metric": stage} for stage in ("lead", "lead", "won", "won")],
        ],
        too_many=[{"kind": "click"}, {"kind": "order"}, {"kind": "order", "user_id": "v"}],
        answers=[
            *several("survey", "count", 10, 9, 7, 3, metric="nps"),
            *several("survey", "count", 4, 5, metric="csat"),
        ],
        one_answer=several("survey", "count", 4, metric="csat"),
        amounts=several("order", "amount", 100_000, 200_000, 300_000),
        same_amounts=several("order", "amount", 100_000, 100_000),
        returns=[*several("order", "amount", 300_000, 400_000), *spends],
        no_returns=spends[:1],
        costs=[
            *[{"kind": "click"}] * 4,
            {"kind": "impression", "count": 4},
            *several("spend", "amount", 80_000, metric="ads"),
        ],
        credits=[*[{"kind": "click"}] * 4, *several("spend", "amount", -80_000, metric="ads")],
        ranks=[
            *several("visit", "dwell_ms", *range(1_000, 11_000, 1_000)),
            *several("order", "amount", *range(110_000, 0, -10_000)),
            *several("measurement", "amount", 12_340, metric="complaint_response_s"),
        ],
        no_dwell=[{"kind": "visit"}],
        users=[
            {"kind": "impression", "user_id": "a"},
            {"kind": "impression", "user_id": "a", "event_time_ms": NOON - 9},
            {"kind": "impression", "user_id": "b"},
            {"kind": "click", "user_id": "a", "paid": True},
            {"kind": "click", "user_id": "a", "paid": False},
            {"kind": "visit", "user_id": "c", "paid": False},
            {"kind": "visit", "user_id": "c", "event_time_ms": NOON - 5 * MINUTE, "paid": False},
            {"kind": "order", "user_id": "d"},
            {"kind": "survey", "user_id": "e", "metric": "nps", "count": 1},
            {"kind": "refund", "user_id": "f"},
            {"kind": "spend", "user_id": None},
        ],
        many=[{"kind": "click", "user_id": f"u{n}"} for n in range(1_025)],
        few=[{"kind": "click", "user_id": f"u{n}"} for n in range(1_024)],
        totals=[
            *several("order", "amount", 100_000, 50_000),
            *several("refund", "amount", 30_000),
            *several("visit", "count", 3, 4),
            *several("measurement", "count", 5, metric="likes"),
            *several("measurement", "count", 6, metric="shares"),
            *several("measurement", "count", 3, metric="sentiment_positive"),
            *several("measurement", "count", 1, metric="sentiment_negative"),
            *[{"kind": "lead", "metric": stage} for stage in ("mql", "sql", "opportunity")],
        ],
    )


def test_wilson(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["shares"]
    # (2/10 + z²/20 ± z √(0.16/10 + z²/400)) / (1 + z²/10)
    assert about(kpis["ctr"]) == (0.2, 0.05668215, 0.50983753, 10, False)
    # No order in two clicks: up to z² / (2 + z²); all leads won: from 2 / (2 + z²).
    assert about(kpis["conversion_rate"]) == (0.0, 0.0, 0.65761976, 2, False)
    assert kpis["conversion_rate"].low == 0.0
    assert about(kpis["lead_conversion_rate"]) == (1.0, 0.34238024, 1.0, 2, False)
    assert kpis["lead_conversion_rate"].high == 1.0
    assert "mql_to_sql_rate" not in kpis  # nothing to divide by


def test_more_than_all_has_no_interval(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["too_many"]
    assert kpis["conversion_rate"][:4] == (2.0, None, None, 1)
    # Two buyers, one of whom clicked: the other counts as a visitor.
    assert about(kpis["purchase_conversion_rate"]) == (1.0, 0.34238024, 1.0, 2, False)


def test_mean_of_answers(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["answers"]
    # Two promoters, one detractor: variance (3 - 1/4) / 3, half z √(0.91667 / 4), in percent.
    assert about(kpis["nps"]) == (25.0, 25 - 93.8261325, 25 + 93.8261325, 4, False)
    # Variance 1/2, half z √(0.5 / 2).
    assert about(kpis["csat"]) == (4.5, 4.5 - 0.97998199, 4.5 + 0.97998199, 2, False)
    one = examples["one_answer"]
    assert one["csat"][:4] == (4.0, None, None, 1)
    assert "nps" not in one


def test_mean_of_amounts(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["amounts"]
    # Standard deviation 10: half z · 10 / √3.
    assert about(kpis["aov"]) == (20.0, 8.68414266, 31.31585734, 3, False)
    assert kpis["aov"].slack == 0
    assert 0 < kpis["aov"].bound_slack < 1
    alike = examples["same_amounts"]
    assert alike["aov"][:3] == (10.0, 10.0, 10.0)
    # A sum of squares that is 2 % too large: half z √(0.02 · 200 / 1 / 2) = z √2.
    assert 2.77 < alike["aov"].bound_slack < 2.80


def test_compound(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["returns"]
    # √(30² + 40²) = 50: half z · 50 / 100, with all cost z · 50 / 200.
    assert about(kpis["roas"]) == (0.7, 0.7 - 0.97998199, 0.7 + 0.97998199, 2, False)
    assert about(kpis["roi"]) == (-0.65, -0.65 - 0.489990996, -0.65 + 0.489990996, 2, False)
    assert kpis["roas"].bound_slack == pytest.approx(0.0105 * 0.97998199)
    assert kpis["spend"][:4] == (100, None, None, 3)
    assert kpis["cost"][:4] == (200, None, None, 3)
    assert kpis["ad_cost_ratio"].value == pytest.approx(1 / 0.7)
    idle = examples["no_returns"]
    assert idle["roas"][:4] == (0.0, None, None, 0)
    assert idle["roi"][:4] == (-1.0, None, None, 0)
    assert "ad_cost_ratio" not in idle


def test_poisson(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["costs"]
    # Between 4 + z²/2 - z √(4 + z²/4) = 1.555521 and 10.285937 clicks.
    assert about(kpis["cpc"]) == (2.0, 0.77776094, 5.14297, 4, False)
    assert about(kpis["cpm"]) == (2000.0, 777.76094, 5142.97, 4, False)
    assert "cpl" not in kpis
    assert about(examples["credits"]["cpc"]) == (-2.0, -5.14297, -0.77776094, 4, False)


def test_quantiles(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["ranks"]
    # Of 10: rank ⌊0.5 · 9⌋ = 4 between ⌊5 - 3.099⌋ = 1 and ⌈5 + 3.099⌉ = 9.
    assert kpis["dwell_time"][:5] == (5.0, 2.0, 10.0, 10, False)
    assert kpis["dwell_time"].slack == pytest.approx(0.0505)
    # Of 11: rank ⌊0.9 · 10⌋ = 9 between ⌊9.9 - 1.950⌋ = 7 and the last.
    assert kpis["order_value_p90"][:4] == (10.0, 8.0, 11.0, 11)
    # Rank 5 between ⌊5.5 - 3.250⌋ = 2 and ⌈8.750⌉ = 9.
    assert kpis["order_value_median"][:4] == (6.0, 3.0, 10.0, 11)
    assert kpis["complaint_response_time_p90"][:4] == (1.234, 1.234, 1.234, 1)
    assert kpis["complaint_response_time"][:4] == (1.234, None, None, 1)
    assert "dwell_time" not in examples["no_dwell"]


def test_distinct_users(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["users"]
    users = ("unique_visitors", "unique_visitors_paid", "unique_visitors_natural", "buyers")
    assert [kpis[name].value for name in users] == [2, 1, 2, 1]
    assert kpis["active_users"].value == 5  # a to e; who is only refunded does nothing
    assert kpis["participation_rate"][0] == 0.8  # a, c, d, e of a to e
    assert kpis["participation_rate"].n == 5


def test_many_users_are_estimated(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["many"]
    visitors = kpis["unique_visitors"]
    assert visitors[:1] + visitors[5:8] == (1_025, pytest.approx(71.75), 0.0, pytest.approx(71.75))
    assert kpis["clicks"].slack == kpis["clicks"].n_slack == 0
    assert kpis["purchase_conversion_rate"].n_slack == pytest.approx(82.0)
    few = examples["few"]
    assert few["unique_visitors"].slack == 0


def test_totals_of_money_and_counts(examples: dict[str, dict[str, Value]]) -> None:
    kpis = examples["totals"]
    assert kpis["revenue_gross"][:5] == (15, None, None, 2, True)
    assert kpis["revenue_net"][:5] == (12, None, None, 2, True)
    assert kpis["refund_rate"][:5] == (0.2, None, None, 2, False)
    assert kpis["page_views"].value == 7
    assert kpis["social_engagement"].value == 11
    assert kpis["favourability"].value == 0.75
    assert kpis["favourability"].n == 4
    assert (kpis["leads"].value, kpis["opportunities"].value) == (0, 1)
    assert kpis["mql_to_sql_rate"].value == 1
    assert all(isinstance(kpis[name].value, int) for name in ("leads", "clicks"))


def test_levels_are_the_newest() -> None:
    rows = several("measurement", "amount", 7_000, 3_000, 5_000, metric="awareness")
    for row, before in zip(rows, (30_000, 10_000, 20_000), strict=True):
        row["event_time_ms"] = NOON - before
    ends = [("1m", end - MINUTE, end) for end in (NOON, NOON + MINUTE)]
    found = oracle.values(events(*rows), ends, "UTC")
    now, later = (found["1m", end, "all", "", "", "", ""] for _, _, end in ends)
    assert now["awareness"][:5] == (0.3, None, None, 1, True)
    assert now.keys() == {"awareness"}
    assert later == {}


def test_what_was_not_seen_is_absent() -> None:
    table = events(
        {"kind": "spend", "amount": 10_000, "event_time_ms": NOON - 2 * HOUR, "user_id": None},
        {"kind": "click"},
        {"kind": "impression", "count": 0, "event_time_ms": NOON + HOUR},
        {"kind": "click", "event_time_ms": NOON + DAY},
    )
    asked = [
        ("1m", NOON - 2 * HOUR - MINUTE),
        *(("1m", end) for end in (NOON, NOON + HOUR + MINUTE, NOON + DAY + MINUTE)),
        *(("24h", end) for end in (NOON + 15 * MINUTE, NOON + DAY - HOUR)),
        ("week", NOON + DAY + 15 * MINUTE),
    ]
    found = oracle.values(
        table, [(name, oracle.window_start(name, end, "UTC"), end) for name, end in asked], "UTC"
    )
    before, now, nothing, tomorrow, rolling, out, week = (
        found.get((*window, "all", "", "", "", ""), {}) for window in asked
    )
    assert before == {}
    assert now["spend"][:4] == (0, None, None, 0)
    assert now["cpc"][:4] == (0.0, 0.0, 0.0, 1)
    assert "impressions" not in nothing  # it was of no impressions
    assert nothing["clicks"].value == nothing["unique_visitors"].value == 0
    assert "spend" not in tomorrow
    assert tomorrow["clicks"].value == 1
    # A window that reaches back to yesterday knows what was seen there, and no more.
    assert rolling["spend"].value == 1
    assert out["clicks"].value == 1
    assert "spend" not in out
    assert (week["spend"].value, week["clicks"].value) == (1, 2)


def test_scopes() -> None:
    table = events(
        {"kind": "click", "region": "north", "segment": "students"},
        {"kind": "click", "campaign": "(none)", "channel": "(none)", "region": "", "segment": ""},
    )
    found = oracle.values(table, [("1m", NOON - MINUTE, NOON)], "UTC")
    assert {key[2:]: kpis["clicks"].value for key, kpis in found.items()} == {
        ("all", "", "", "", ""): 2,
        ("channel", "", "web", "", ""): 1,
        ("channel", "", "(none)", "", ""): 1,
        ("campaign", "c", "", "", ""): 1,
        ("campaign", "(none)", "", "", ""): 1,
        ("campaign_channel", "c", "web", "", ""): 1,
        ("campaign_channel", "(none)", "(none)", "", ""): 1,
        ("region", "", "", "north", ""): 1,
        ("campaign_region", "c", "", "north", ""): 1,
        ("segment", "", "", "", "students"): 1,
    }


@pytest.mark.parametrize(
    ("window", "end", "start"),
    [
        ("day", "2023-11-06T00:00:00-05:00", "2023-11-05T00:00:00-04:00"),
        ("day", "2023-11-06T00:01:00-05:00", "2023-11-06T00:00:00-05:00"),
        ("week", "2023-11-08T12:00:00-05:00", "2023-11-02T00:00:00-04:00"),
        ("week", "2023-11-12T00:00:00-05:00", "2023-11-05T00:00:00-04:00"),
        ("week", "2023-11-12T00:15:00-05:00", "2023-11-06T00:00:00-05:00"),
        ("month", "2023-11-14T00:15:00-05:00", "2023-10-16T00:00:00-04:00"),
        ("24h", "2023-11-05T12:00:00-05:00", "2023-11-04T13:00:00-04:00"),
        ("1h", "2023-11-05T01:30:00-05:00", "2023-11-05T01:30:00-04:00"),
        ("week", "2024-03-11T00:15:00-04:00", "2024-03-05T00:00:00-05:00"),
    ],
)
def test_starts_go_by_the_local_calendar(window: str, end: str, start: str) -> None:
    assert oracle.window_start(window, ms(end), NEW_YORK) == ms(start)


def test_everything_so_far_has_no_start() -> None:
    assert oracle.window_start("so_far", NOON, NEW_YORK) == 0


def test_a_week_holds_what_the_clock_shows() -> None:
    first = ms("2023-11-02T00:00:00-04:00")
    table = events(
        {"kind": "click", "event_time_ms": first - 1},
        {"kind": "click", "event_time_ms": first},
        at=first,
    )
    end = ms("2023-11-08T12:00:00-05:00")
    found = oracle.values(table, [("week", first, end)], NEW_YORK)
    assert found["week", end, "all", "", "", "", ""]["clicks"].value == 1
    with pytest.raises(ValueError, match="cannot start"):
        oracle.values(table, [("week", end - 7 * DAY, end)], NEW_YORK)


def test_required_window_ends() -> None:
    """The calculation requires a window at each end where an event enters or leaves it."""
    ends = oracle.required_ends(events({"kind": "click"}, at=NOON), "UTC")
    midnight = NOON - 12 * HOUR
    quarter = NOON + 15 * MINUTE
    assert sorted(ends) == sorted(
        [
            ("1m", NOON - 50_000, NOON + 10_000),
            ("1m", NOON + 10_000, NOON + 70_000),
            ("1m", NOON + 70_000, NOON + 130_000),
            ("5m", NOON - 290_000, NOON + 10_000),
            ("5m", NOON + 10_000, NOON + 310_000),
            ("5m", NOON + 310_000, NOON + 610_000),
            ("1h", NOON - 59 * MINUTE, NOON + MINUTE),
            ("1h", NOON + MINUTE, NOON + 61 * MINUTE),
            ("1h", NOON + 61 * MINUTE, NOON + 121 * MINUTE),
            ("day", midnight, NOON + MINUTE),
            ("day", midnight + DAY, NOON + DAY + MINUTE),
            ("24h", quarter - DAY, quarter),
            ("24h", quarter, quarter + DAY),
            ("24h", quarter + DAY, quarter + 2 * DAY),
            ("week", midnight - 6 * DAY, quarter),
            ("week", midnight + DAY, quarter + 7 * DAY),
            ("month", midnight - 29 * DAY, quarter),
            ("month", midnight + DAY, quarter + 30 * DAY),
            ("so_far", 0, quarter),
        ]
    )


def test_columns_that_are_missing_are_filled_in() -> None:
    rows = [
        (NOON - 1, kind, user, "c", "web", 20_000, 1)
        for kind, user in (("click", "u"), ("visit", "v"), ("spend", None))
    ]
    table = pl.DataFrame(rows, schema=oracle.SHORT_SCHEMA, orient="row")
    assert list(oracle.typed(table).schema.items()) == list(oracle.SCHEMA.items())
    found = oracle.values(table, [("1m", NOON - MINUTE, NOON)], "UTC")
    kpis = found["1m", NOON, "all", "", "", "", ""]
    assert kpis["unique_visitors_paid"].value == kpis["unique_visitors_natural"].value == 1
    assert kpis["spend"].value == kpis["cost"].value == 2
    assert kpis["page_views"].value == 1


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Month(events=100).counted
    ends = oracle.required_ends(table, NEW_YORK)[::60]
    whole = oracle.values(table, ends, NEW_YORK)
    assert len(whole) > 2 * len(ends)
    monkeypatch.setattr(oracle, "CHUNK_WINDOWS", len(ends) // 3)
    assert oracle.values(table, ends, NEW_YORK) == whole


# --- customers


def in_last_minute(*rows: dict[str, Any], **customers: Any) -> dict[str, dict[str, Value]]:
    """The KPIs of the minute that ends at noon, by campaign and channel; all is under "all"."""
    known = Customers(lookback_ms=7 * DAY, **customers)
    found = oracle.values(events(*rows), [("1m", NOON - MINUTE, NOON)], "UTC", customers=known)
    return {
        " ".join(key[3:5]).strip() or "all": kpis
        for key, kpis in found.items()
        if key[2] in {"all", "campaign_channel"}
    }


def click(campaign: str, channel: str, *, before: int, **others: Any) -> dict[str, Any]:
    at = {"event_time_ms": NOON - 1 - before, "campaign": campaign, "channel": channel}
    return {"kind": "click", **at, **others}


def order(
    amount: int, *, campaign: str = "(none)", channel: str = "(none)", **others: Any
) -> dict[str, Any]:
    named = {"campaign": campaign, "channel": channel, "order_id": "o"}
    return {"kind": "order", "amount": amount, **named, **others}


JOURNEY = (
    click("too", "early", before=7 * DAY + 1),
    click("a", "search", before=7 * DAY),
    click("b", "feed", before=2 * DAY),
    click("c", "mail", before=0),
    click("d", "feed", before=-1),  # after the order
    click("e", "feed", before=1, user_id="v"),  # somebody else
)


def shares(found: dict[str, dict[str, Value]], name: str) -> dict[str, tuple[Any, Any]]:
    """Orders and revenue of a model, where there are any."""
    return {
        place: (kpis[f"orders_{name}"].value, kpis[f"revenue_{name}"].value)
        for place, kpis in found.items()
        if place != "all" and kpis.get(f"orders_{name}", Value(0, None, None, 0, True)).value
    }


def test_touches_within_the_lookback_share_an_order() -> None:
    found = in_last_minute(*JOURNEY, order(100))
    assert shares(found, "first_touch") == {"a search": (1.0, 0.01)}
    assert shares(found, "last_touch") == {"c mail": (1.0, 0.01)}
    assert shares(found, "linear") == {
        "a search": (0.3333, 0.0033),
        "b feed": (0.3333, 0.0033),
        "c mail": (0.3334, 0.0034),
    }
    assert shares(found, "declared") == {"(none) (none)": (1.0, 0.01)}
    everything = found["all"]
    assert [everything[f"orders_{name}"].value for name in ("first_touch", "linear")] == [1.0, 1.0]
    assert everything["attribution_spread"][:4] == (0.0, None, None, 1)
    assert found["a search"]["attribution_spread"].value == 1.0
    assert found["a search"]["orders_linear"].n == 0


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("last", "c mail"),
        ("linear", "c mail"),
        ("first", "a search"),
        ("declared", "(none) (none)"),
    ],
)
def test_default_model_places_orders(model: str, place: str) -> None:
    """The default attribution model places orders that name no campaign."""
    found = in_last_minute(*JOURNEY, order(100), model=model)
    counted = {name for name, kpis in found.items() if kpis["orders"].value}
    assert counted == {"all", place}


@pytest.mark.parametrize(
    ("placed", "place"),
    [
        (order(100, campaign="z", channel="tv"), "z tv"),
        (order(100, campaign="z"), "z (none)"),
        (order(100, campaign="(unknown)"), "(unknown) (none)"),
        (order(100, channel="tv"), "c tv"),
        (order(100, user_id="w"), "(none) (direct)"),
        (order(100, channel="tv", user_id="w"), "(none) tv"),
    ],
)
def test_what_an_order_names_is_its_own(placed: dict[str, Any], place: str) -> None:
    found = in_last_minute(*JOURNEY, placed)
    assert {name for name, kpis in found.items() if kpis["orders"].value} == {"all", place}
    # The only order is of somebody without clicks, or of the customer who clicked on ``c``.
    touched = {} if "user_id" in placed else {"c mail": (1.0, 0.01)}
    assert shares(found, "last_touch") == touched


def test_refund_counts_at_its_order() -> None:
    """A refund reduces its order's net revenue, and counts as outflow when it is made."""
    placed = order(900, event_time_ms=NOON - 3 * DAY)
    back = {"kind": "refund", "amount": 400, "campaign": "z", "order_id": "o"}
    table = events(*JOURNEY, placed, back, {**back, "user_id": "w"})
    ends = [("1m", end - MINUTE, end) for end in (NOON - 3 * DAY, NOON - 3 * DAY + MINUTE, NOON)]
    found = oracle.values(table, ends, "UTC", customers=Customers(lookback_ms=7 * DAY))
    then, now = (
        {key[3]: kpis for key, kpis in found.items() if key[1] == end and key[2] == "campaign"}
        for end in (NOON - 3 * DAY + MINUTE, NOON)
    )
    assert [name for name, kpis in then.items() if kpis["orders"].value] == ["a"]
    assert then["a"]["revenue_net"].value == 0.05
    assert then["a"]["clv"][:4] == (0.05, None, None, 1)
    # It came when the window had long closed.
    assert then["a"]["revenue_net"].others == (0.09,)
    assert then["a"]["clv"].others == (0.09,)
    assert then["a"]["orders"].others == ()
    assert now["a"]["refund_outflow"][:4] == (0.04, None, None, 1)
    assert now["a"]["revenue_net"][:1] == (0,)
    # Nobody knows an order o of w.
    assert now["z"]["refund_outflow"][:4] == (0.04, None, None, 1)
    assert now["z"]["revenue_net"].value == -0.04


def test_guests_are_no_customers() -> None:
    """Orders of guests count where they say; no model credits them, and none is a first order."""
    found = in_last_minute(
        order(100, campaign="z", user_id=None),
        order(200, campaign="z", user_id=None, event_time_ms=NOON - 2, order_id="2"),
        order(300, user_id=None, event_time_ms=NOON - 3, order_id="3"),
        {"kind": "refund", "amount": 50, "user_id": None, "order_id": "2"}
        | {"campaign": "z", "channel": "(none)"},
        {"kind": "click", "user_id": None},
    )
    z = found["z (none)"]
    assert (z["orders"].value, z["revenue_gross"].value) == (2, 0.03)
    assert z["revenue_net"].value == 0.025
    assert found["(none) (none)"]["orders"].value == 1
    assert "new_customers" not in z
    assert "orders_last_touch" not in z


def test_first_orders_and_those_who_come_back() -> None:
    found = in_last_minute(
        order(100, campaign="z", user_id="old", event_time_ms=NOON - 40 * DAY, order_id="1"),
        order(200, campaign="y", user_id="old", order_id="2"),
        order(300, campaign="y", user_id="new", event_time_ms=NOON - 3, order_id="3"),
        order(500, campaign="x", user_id="new", event_time_ms=NOON - 2, order_id="4"),
        {"kind": "refund", "amount": 60, "user_id": "new", "order_id": "4"},
        {"kind": "spend", "amount": 80_000, "metric": "ads", "campaign": "y", "channel": "(none)"},
        {
            "kind": "spend",
            "amount": 20_000,
            "metric": "labour",
            "campaign": "y",
            "channel": "(none)",
        },
    )
    y, x = found["y (none)"], found["x (none)"]
    assert y["new_customers"][:4] == (1, None, None, 1)
    assert y["returning_buyers"].value == 1
    assert y["repurchase_rate"].value == 0.5
    assert y["clv"][:4] == (0.074, None, None, 1)  # (300 + 500 - 60) / 10,000
    # Between 1 + z²/2 - z √(1 + z²/4) = 0.176524 and 5.664934 customers.
    assert about(y["cac"]) == (10.0, 1.76524555, 56.6493427, 1, False)
    assert x["new_customers"].value == 0
    assert x["returning_buyers"].value == 1
    assert "clv" not in x
    assert x["revenue_net"].value == 0.044
    # Two orders by first, last and linear touch: none of them had a touch.
    assert "cpa_first_touch" not in y
    assert y["roas_declared"][:4] == (500 / 80_000, None, None, 2)
    assert about(y["cpa_declared"]) == (4.0, 1.09694428, 14.5859734, 2, False)


def test_without_customers_their_kpis_are_absent() -> None:
    table = events(*JOURNEY, order(100), {"kind": "refund", "amount": 40, "order_id": "o"})
    found = oracle.values(table, [("1m", NOON - MINUTE, NOON)], "UTC")
    kpis = found["1m", NOON, "campaign_channel", "(none)", "(none)", "", ""]
    assert kpis["orders"].value == 1
    assert kpis.keys().isdisjoint(
        {"new_customers", "cac", "returning_buyers", "repurchase_rate", "clv", "orders_declared"}
    )
    assert found["1m", NOON, "campaign", "c", "", "", ""]["refund_outflow"].value == 0.004


# --- comparison


def said(*value: Any) -> list[Any]:
    return list(value)


@pytest.mark.parametrize(
    ("mine", "theirs", "equal"),
    [
        (said(3, None, None, 3, True), Value(3, None, None, 3, True), True),
        (said(4, None, None, 3, True), Value(3, None, None, 3, True), False),
        (said(3.0, None, None, 3, True), Value(3, None, None, 3, True), False),
        (said(3, None, None, 3, False), Value(3, None, None, 3, True), False),
        (said(3, None, None, 3, 1), Value(3, None, None, 3, True), False),
        (said(3, None, None, 3), Value(3, None, None, 3, True), False),
        (said(0.5, 0.1, 0.9, 8, True), Value(0.5, 0.1, 0.9, 8, True), True),
        (said(0.5, 0.1, 0.9, 8, True), Value(0.5 + 1e-9, 0.1, 0.9, 8, True), False),
        (said(0.5, None, None, 8, True), Value(0.5, 0.1, 0.9, 8, True), False),
        (said(0.5, 0.1, None, 8, True), Value(0.5, 0.1, 0.9, 8, True), False),
        (said(5.04, 2.0, 9.1, 8, True), Value(5.0, 2.0, 9.0, 8, True, 0.05, 0.1), True),
        (said(5.06, 2.0, 9.0, 8, True), Value(5.0, 2.0, 9.0, 8, True, 0.05, 0.1), False),
        (said(5.0, 2.0, 9.2, 8, True), Value(5.0, 2.0, 9.0, 8, True, 0.05, 0.1), False),
        (said(1_990, None, None, 2_010, True), Value(2_000, None, None, 2_000, True, 100), False),
        (
            said(1_990, None, None, 1_990, True),
            Value(2_000, None, None, 2_000, True, 100, 0, 100),
            True,
        ),
        # Estimates may say that more bought than visited.
        (
            said(1.01, None, None, 2_000, True),
            Value(0.99, 0.98, 0.995, 2_000, True, 0.06, 0.06),
            True,
        ),
        (
            said(0.5, None, None, 2_000, True),
            Value(0.5, 0.4, 0.6, 2_000, True, 0.03, 0.03),
            False,
        ),
    ],
)
def test_comparison_of_a_value(mine: list[Any], theirs: Value, equal: bool) -> None:
    assert same(mine, theirs) is equal


@pytest.mark.parametrize(
    ("value", "in_order", "in_any_order"),
    [
        (7.0, True, True),
        (5.0, True, True),
        (6.0, False, True),
        (4.9, False, False),
        (7.1, False, False),
    ],
)
def test_money_that_came_late_may_be_there_in_part(
    value: float, in_order: bool, in_any_order: bool
) -> None:
    theirs = Value(7.0, None, None, 8, True, others=(5.0, 6.5))
    mine = [value, None, None, 8, True]
    assert same(mine, theirs) is in_order
    assert same(mine, theirs, in_order=False) is in_any_order


def test_comparison_of_everything() -> None:
    table = events({"kind": "click"}, {"kind": "order", "amount": 5})
    end = ("1m", NOON - MINUTE, NOON)
    expected = oracle.values(table, [end], "UTC")
    scopes = [
        dict(zip(("scope", "campaign", "channel", "region", "segment"), key[2:], strict=True))
        | {"values": {kpi: value[:5] for kpi, value in kpis.items()}}
        for key, kpis in expected.items()
    ]
    closed = {"window": "1m", "start": end[1], "end": NOON, "complete": True, "scopes": scopes}
    told = published([SimpleNamespace(value=msgspec.json.encode(closed))])
    assert (told.ends, told.incomplete) == ({end}, set())
    got = told.values
    assert differences(got, expected) == []
    everything = ("1m", NOON, "all", "", "", "", "")
    got[everything]["clicks"][0] = 2
    del got[everything]["orders"]
    got[everything]["more"] = [1, None, None, 1, True]
    del got["1m", NOON, "channel", "", "web", "", ""]
    assert len(differences(got, expected)) == 4


# --- the month


@pytest.fixture(scope="module")
def made() -> Month:
    return Month()


def test_the_month_is_the_same_every_time(made: Month) -> None:
    again = Month()
    assert again.events == made.events
    assert again.counted.equals(made.counted)
    assert Month(seed=2).events != made.events


def test_the_month_has_everything(made: Month) -> None:
    assert len(made.counted) == 6_000
    sent = made.events
    assert {event["type"] for event in sent} == month.TOPICS.keys()
    assert {event["stage"] for event in sent if event["type"] == "lead"} == set(month.STAGES)
    assert {event["metric"] for event in sent if event["type"] == "measurement"} == {
        *oracle.FLOWS,
        *oracle.LEVELS,
        "complaint_response_s",
    }
    costs = Counter(event.get("cost") for event in sent if event["type"] == "spend_reported")
    assert costs.keys() == {*month.COSTS, None}
    assert {event.get("currency") for event in sent} == {*month.CURRENCIES, None}
    counted = made.counted
    assert set(counted["campaign"]) == {
        *(campaign["id"] for campaign in made.campaigns),
        *("(unknown)", "(none)"),
    }
    assert counted["channel"].n_unique() == 5
    assert counted["region"].n_unique() == 4
    assert counted["segment"].n_unique() == 3
    assert counted["event_time_ms"].n_unique() == len(counted)
    assert 300 < counted["user_id"].n_unique() <= 401
    guests = [event for event in sent if event.get("user_id", "u") in month.GUESTS]
    assert {event["user_id"] for event in guests} == set(month.GUESTS)
    assert {"order_placed", "order_refunded", "click"} <= {event["type"] for event in guests}
    assert {" search ", "SEARCH", "ｓｅａｒｃｈ"} <= {event.get("channel") for event in sent}
    surveys = counted.filter(pl.col("kind") == "survey")
    assert set(surveys["metric"]) == {"nps", "csat"}
    assert all(("nps" in event) != ("csat" in event) for event in sent if event["type"] == "survey")
    assert {month.topic_of(event) for event in sent} == {"clicks", "orders", "campaigns"}
    assert all(month.key_of(event) for event in sent)


def test_the_month_counts_what_is_sent_once(made: Month) -> None:
    bodies = {event["event_id"]: event for event in made.events}
    assert len(bodies) == len(made.counted) == len(made.events) - made.duplicates
    assert 120 < made.duplicates < 240
    assert 60 < made.late < 180
    seen: dict[str, dict[str, Any]] = {}
    newest = 0
    for event in made.events:
        before = seen.setdefault(event["event_id"], event)
        assert before == event
        behind = newest - event["event_time"]
        assert behind < (100_000 if before is not event else 500_000)
        newest = max(newest, event["event_time"])
    sent = Counter(month.KINDS.get(event["type"], event["type"]) for event in bodies.values())
    assert sent == Counter(made.counted["kind"].to_list())


def orders_of(made: Month) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the versions of each order by user and order id, in the order of their times."""
    placed = {e["event_id"]: e for e in made.events if e["type"] == "order_placed"}
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in sorted(placed.values(), key=lambda event: int(event["event_time"])):
        found.setdefault((event["user_id"], event["order_id"]), []).append(event)
    return found


def test_refunds_are_of_orders(made: Month) -> None:
    orders = orders_of(made)
    refunds = [e for e in made.events if e["type"] == "order_refunded"]
    about = ("user_id", "campaign_id", "campaign", "channel", "region", "segment")
    known = [one for one in refunds if (one["user_id"], one["order_id"]) in orders]
    assert 0.02 < 1 - len(known) / len(refunds) < 0.2
    waited = [0]
    for refund in known:
        versions = orders[refund["user_id"], refund["order_id"]]
        order = versions[0]
        waited.append(refund["event_time"] - order["event_time"])
        assert [refund.get(name) for name in about] == [order.get(name) for name in about]
        by_then = [one for one in versions if one["event_time"] < refund["event_time"]]
        assert by_then[-1]["currency"] == refund["currency"]
        assert Decimal(refund["amount"]) <= Decimal(by_then[-1]["amount"])
    assert max(waited) > 14 * DAY


def test_the_month_has_orders_that_change(made: Month) -> None:
    """Orders are repeated and edited, and refunds are at another rate than their order."""
    orders = orders_of(made)
    several = [versions for versions in orders.values() if len(versions) > 1]
    assert len(several) > 60
    assert sum(len({one["amount"] for one in versions}) > 1 for versions in several) > 20
    assert sum(len({one["amount"] for one in versions}) == 1 for versions in several) > 20
    assert sum(len({one["currency"] for one in versions}) > 1 for versions in several) > 3
    for versions in several:
        assert versions[-1]["event_time"] - versions[0]["event_time"] < month.CHANGED_WITHIN_MS
    rates = {
        (row["user_id"], row["order_id"], row["kind"]): row["rate"]
        for row in made.counted.sort("event_time_ms", descending=True).to_dicts()
    }
    known = [
        name for name in orders if rates.get((*name, "order")) and rates.get((*name, "refund"))
    ]
    assert sum(rates[*name, "order"] != rates[*name, "refund"] for name in known) > 20


def test_the_month_has_journeys(made: Month) -> None:
    orders = orders_of(made)
    unnamed = [one for one, *_ in orders.values() if not {"campaign_id", "campaign"} & one.keys()]
    assert 0.15 < len(unnamed) / len(orders) < 0.35
    buyers = Counter(user for user, _ in orders)
    assert sum(count > 1 for count in buyers.values()) > 50
    ids = Counter(order_id for _, order_id in orders)
    assert max(ids.values()) > 1  # of different users
    clicks = (
        made.counted.filter(pl.col("kind") == "click").select("user_id", "event_time_ms").rows()
    )
    touches = Counter(
        sum(
            user == order["user_id"] and 0 <= order["event_time"] - at <= 7 * DAY
            for user, at in clicks
        )
        for order in unnamed
    )
    assert touches[0] > 10
    assert sum(count for touched, count in touches.items() if touched > 1) > 30


def test_the_month_holds_the_end_of_daylight_saving_time(made: Month) -> None:
    start = month.moment(month.LONG_DAY, made.zone)
    following = month.moment(month.LONG_DAY + timedelta(days=1), made.zone)
    assert following - start == 25 * HOUR
    times = made.counted["event_time_ms"]
    for fold in (0, 1):
        hour = month.moment(month.LONG_DAY, made.zone, hour=1, fold=fold)
        assert times.is_between(hour, hour + HOUR - 1).any()
    days = {month.local_day(t, made.zone) for t in times}
    assert len(days) == month.DAYS
    assert (min(days), max(days)) == (
        month.FIRST_DAY,
        datetime(2023, 11, 14, tzinfo=UTC).date(),
    )


@pytest.mark.parametrize(
    ("amount", "currency", "at", "expected"),
    [
        ("12.3456", "CNY", "2023-10-20T12:00:00-04:00", 123_456),
        ("1", "USD", "2023-10-19T23:59:59-04:00", 73_012),
        ("1", "USD", "2023-10-20T00:00:00-04:00", 73_158),
        ("1", "USD", "2023-10-20T03:59:59+00:00", 73_012),
        ("1", "USD", "2023-11-05T01:30:00-05:00", 72_846),  # 72845.5
        ("3", "USD", "2023-11-05T01:30:00-05:00", 218_536),  # 218536.5
        ("0.01", "EUR", "2023-11-12T12:00:00-05:00", 780),  # 780.105
    ],
)
def test_money_is_converted_by_the_day(amount: str, currency: str, at: str, expected: int) -> None:
    assert month.units(amount, currency, ms(at)) == expected


def test_money_without_a_rate_is_an_error() -> None:
    with pytest.raises(LookupError, match="EUR"):
        month.units("1", "EUR", ms("2023-09-30T12:00:00-04:00"))
    with pytest.raises(LookupError, match="GBP"):
        month.units("1", "GBP", NOON)


def test_windows_of_the_month_hold_what_a_plain_count_finds(made: Month) -> None:
    required = oracle.required_ends(made.counted, made.zone)
    by_window = {name: [end for end in required if end[0] == name] for name in oracle.STEP_MS}
    rnd = random.Random(7)
    ends = [end for some in by_window.values() for end in rnd.sample(some, 5)]
    found = oracle.values(made.counted, ends, made.zone)
    rows = made.counted.to_dicts()
    for window, start, end in ends:
        inside = [row for row in rows if start <= row["event_time_ms"] < end]
        for campaign in ("", "halloween"):
            scope = "campaign" if campaign else "all"
            kpis = found.get((window, end, scope, campaign, "", "", ""))
            mine = [row for row in inside if campaign in {"", row["campaign"]}]
            if kpis is None:
                assert not mine
                continue
            users = [row for row in mine if row["user_id"] is not None]
            buyers = {row["user_id"] for row in users if row["kind"] == "order"}
            passive = {"refund", "spend", "measurement"}
            active = {row["user_id"] for row in users if row["kind"] not in passive}
            gross = sum(row["amount"] for row in mine if row["kind"] == "order")
            assert kpis["buyers"].value == len(buyers)
            assert kpis["active_users"].value == len(active)
            assert kpis["revenue_gross"].value == gross / 10_000
