"""Money of other currencies, at the rate of the day."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dead_letters import Reason
from models.kpi.measures import SUM_INDEX
from models.money.exchange_rates import NoRateError, Rate, Rates
from streams import config
from streams.errors import ConfigError
from tests.factories.reports import apply, letters, reported, sums
from tests.support.offline import NOON, event, ingest_job


def rates(**usd: str) -> Rates:
    return Rates(
        "CNY",
        [
            Rate(
                currency="USD",
                date=date.fromisoformat(day.strip("d").replace("_", "-")),
                rate=Decimal(rate),
            )
            for day, rate in usd.items()
        ],
    )


def test_the_rate_is_the_newest_that_holds_on_the_day() -> None:
    known = rates(d2023_11_14="7.2", d2023_11_01="7.0")
    assert known.to_units(Decimal(1), "USD", on=date(2023, 11, 13)) == 70_000
    assert known.to_units(Decimal(1), "USD", on=date(2023, 11, 14)) == 72_000
    assert known.to_units(Decimal(1), "CNY", on=date(1999, 1, 1)) == 10_000
    with pytest.raises(NoRateError, match="holds on 2023-10-31; the first begins on"):
        known.to_units(Decimal(1), "USD", on=date(2023, 10, 31))


@given(
    st.decimals(min_value=0, max_value=10**6, places=4),
    st.decimals(min_value="0.0001", max_value=1000, places=6),
)
def test_what_is_converted_is_off_by_half_a_unit_at_most(amount: Decimal, rate: Decimal) -> None:
    known = Rates("CNY", [Rate(currency="USD", date=date(2023, 1, 1), rate=rate)])
    units = known.to_units(amount, "USD", on=date(2023, 6, 18))
    assert abs(units - amount * rate * 10_000) <= Decimal("0.5")


def test_redefined_rate_replaces_the_old_one() -> None:
    """A rate that is defined again for the same day replaces the one before."""
    known = rates(d2023_11_14="7.2")
    known.define(Rate(currency="USD", date=date(2023, 11, 14), rate=Decimal(8)))
    assert len(known) == 1
    assert known.to_units(Decimal(1), "USD", on=date(2023, 11, 14)) == 80_000


def test_amounts_use_the_rate_of_their_day() -> None:
    """Costs and revenue are converted at the rate of their own business day."""
    job = ingest_job("orders", rates=rates(d2023_11_14="7.2", d2023_11_13="7.1"))
    apply(
        job,
        event("order_placed", at=NOON, event_id="a", amount="10", currency="USD"),
        event("order_placed", at=NOON - 86_400_000 + 590_000, event_id="b", amount="1"),
    )
    assert sums(reported(job.snapshot()))[SUM_INDEX["revenue_gross"]] == 720_000


def test_event_without_a_rate_is_a_dead_letter() -> None:
    """An event without a rate is a dead letter that says which rates are known."""
    job = ingest_job("orders", rates=rates(d2023_11_15="7.2"))
    apply(job, event("order_placed", at=NOON, event_id="a", amount="10", currency="USD"))
    (letter,) = letters(job.snapshot())
    assert letter.reason is Reason.UNKNOWN_CURRENCY
    assert "no rate of USD holds on 2023-11-14" in letter.detail


def test_a_file_of_rates_is_checked(tmp_path: Path, repository: Path) -> None:
    assert len(config.load_rates(repository / "config" / "rates.yaml").rates) == 3
    path = tmp_path / "rates.yaml"
    path.write_text('rates:\n  - {currency: USD, date: 2026-06-01, rate: "-1"}\n')
    with pytest.raises(ConfigError, match=r"line 2: rates\[0\].rate"):
        config.load_rates(path)
