"""Every KPI of every closed window and scope of a month equals an independent calculation.

So do the periods that windows are compared with, the stages of campaigns so far, and the
times before and after a change.

The month has daylight saving time ending in it, refunds, three currencies whose rates
change, orders that are repeated and edited, late events, repetitions, unknown campaigns,
and every type of event. The calculation is tests/support/oracle.py, in SQL; it shares no
code with the monitor.
"""

from __future__ import annotations

import pathlib
from collections import Counter
from datetime import date
from decimal import Decimal
from math import inf

import pytest

from models.campaigns.campaign import Campaign
from models.campaigns.campaign_change import Change
from models.customers.journal_entry import DefaultModel
from models.kpi.catalogue import CATALOGUE
from models.kpi.catalogue_customers import CUSTOMER_KPIS
from models.kpi.value_range import why_absent
from models.money.exchange_rates import Rate, Rates
from models.scope import NO_CHANNEL
from models.window import DAY_MS
from streams import config
from streams.ingest.customers.attribution import AttributionRules
from tests.support import month, oracle
from tests.support.attribution_sql import Customers
from tests.support.beside import Beside
from tests.support.compare import differences, near
from tests.support.customers import context
from tests.support.offline import Path

pytestmark = pytest.mark.slow

INFLUENCE = 0.35
CUSTOMER_DAYS = 7
"""The windows `day` and `week` have customers; `month` is longer."""
LOOKS = 10
"""So often what is shown beside the windows is looked at on the way."""
CHANGES = [
    Change(
        campaign=campaign,
        event_id=what,
        at_ms=month.moment(date(2023, *day), month.ZONE, hour=7),
        what=what,
    )
    for campaign, what, day in (
        ("autumn", "bid", (10, 20)),
        ("members", "budget", (11, 4)),
        ("halloween", "creative", (11, 13)),
    )
]


def rates() -> Rates:
    return Rates(
        month.CURRENCY,
        [
            Rate(currency=currency, date=date.fromisoformat(day), rate=Decimal(rate))
            for currency, known in month.RATES.items()
            for day, rate in known
        ],
    )


def rules(model: DefaultModel) -> AttributionRules:
    return AttributionRules(lookback_ms=7 * DAY_MS, model=model)


@pytest.mark.parametrize(
    ("seed", "events", "partitions", "model"),
    [
        (75, 600, 3, "last"),
        pytest.param(26, 1_500, 3, "last", marks=pytest.mark.full),
        pytest.param(26, 1_500, 1, "first", marks=pytest.mark.full),
        pytest.param(26, 1_500, 2, "linear", marks=pytest.mark.full),
        pytest.param(26, 1_500, 1, None, marks=pytest.mark.full),
    ],
)
def test_a_month_is_right_to_the_cent(
    seed: int,
    events: int,
    partitions: int,
    model: DefaultModel | None,
    repository: pathlib.Path,
) -> None:
    """With customers under each model, and without any; with measurements declared in a file."""
    book = config.load_kpis(repository / "config" / "kpis.yaml")
    own = [kpi for kpi in book.kpis if kpi.name in oracle.CUSTOM_KPIS]
    catalogue = CATALOGUE.with_more(own, custom=book.custom)
    made = month.Month(seed=seed, events=events)
    path = Path(
        partitions=partitions,
        zone=month.ZONE,
        now_ms=month.moment(month.FIRST_DAY, month.ZONE) + 40 * DAY_MS,
        campaigns=[Campaign.model_validate(one) for one in made.campaigns],
        rates=rates(),
        customers=None if model is None else context(rules=rules(model)),
        coefficients={"influence": INFLUENCE},
        catalogue=catalogue,
        changes=CHANGES,
        customer_days=CUSTOMER_DAYS,
    )
    beside = Beside(catalogue)
    batch = len(made.events) // LOOKS
    for first in range(0, len(made.events), batch):
        path.feed(made.events[first : first + batch])
        unread = [event["event_time"] for event in made.events[first + batch :]]
        beside.look(path, unread_from_ms=min(unread, default=inf))
    path.finish()
    beside.look(path, unread_from_ms=inf)
    view = path.kpis.view
    assert view is not None
    assert view.total("counted") == len(made.counted)
    assert view.total("duplicates") == made.duplicates
    assert view.total("dead_letters/") == 0
    assert "metric" not in view.unknown

    ends = {(name, oracle.window_start(name, end, month.ZONE), end) for name, end in path.compared}
    last_ms = max(end for name, _, end in ends if name == "1m")
    known = None if model is None else Customers(lookback_ms=7 * DAY_MS, model=model)
    counted = oracle.required_ends(made.counted, month.ZONE, customers=known)
    assert {end for end in counted if end[2] <= last_ms} <= ends
    expected = oracle.values(
        made.counted,
        ends,
        month.ZONE,
        customers=known,
        compared=path.compared,
        pasts=path.pasts,
        customer_days=CUSTOMER_DAYS,
        observed_from_ms=view.latest["day"].observed_from_ms,
        influence=INFLUENCE,
        plans=month.PLANS,
    )
    wrong = differences(path.closed, expected)
    assert not wrong, f"{len(wrong)} of {len(expected)} differ:\n" + "\n".join(sorted(wrong)[:10])
    seen = {kpi for values in expected.values() for kpi in values}
    absent = {kpi.name for kpi in CUSTOMER_KPIS} - {"refund_outflow"} if model is None else set()
    assert seen == set(catalogue) - absent
    late = [
        value
        for key, kpis in expected.items()
        for kpi, value in kpis.items()
        if value.others and not near(path.closed[key][kpi][0], value.value, value.slack)
    ]
    assert len(late) < 0.02 * sum(map(len, expected.values()))
    print(f"\n{len(late)} values are as they were before money came that was too late", end="")
    before = {name for (name, _), period in path.compared.items() if period is not None}
    assert before == set(oracle.STEP_MS) - {"so_far", "month"}
    pasts = {name for (name, _), past in path.pasts.items() if past is not None}
    assert pasts == {"day", "week"}
    # Measurements name no channel and count in the bucket (none): rules about channels are refused.
    places = {
        (kpi, key.scope, key.window)
        for key, kpis in path.closed.items()
        if key.channel != NO_CHANNEL
        for kpi in kpis
    }
    for kpi, scope, window in places:
        assert why_absent(catalogue[kpi], scope=scope, window=window) is None, (kpi, scope, window)
    periods_are_right(beside, made, known)
    print(f"\n{len(expected)} rows of {len(ends)} closed windows are equal, {len(seen)} KPIs")


def periods_are_right(beside: Beside, made: month.Month, known: Customers | None) -> None:
    """What windows are compared with, stages so far, and the times before and after changes."""
    expected = beside.told(
        oracle.values(
            made.counted,
            beside.ends,
            month.ZONE,
            # They are summed when they are shown: any of what came late may be there.
            customers=known and known._replace(corrected_for_ms=0),
            plans=month.PLANS,
        )
    )
    wrong = differences(beside.shown_of(expected), expected)
    assert not wrong, f"{len(wrong)} of {len(expected)} differ:\n" + "\n".join(sorted(wrong)[:10])
    kinds = Counter(what.split(" ")[0] for what, *_ in beside.ends)
    print(f"\n{len(expected)} rows of {kinds} are equal", end="")
    assert set(kinds) == {"previous", "last_week", "stage", "before", "after"}
