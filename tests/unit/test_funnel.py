"""The funnel: which step loses more than usual."""

from __future__ import annotations

import pytest

from models.kpi.definition import KpiValue
from streams.analysis.funnel import funnel, worst


def values(**counts: int) -> dict[str, KpiValue]:
    return {name: KpiValue(count) for name, count in counts.items()}


USUAL = values(impressions=100_000, clicks=10_000, visits=8_000, orders=400)


def test_nothing_is_lost_at_the_usual_rates() -> None:
    steps = funnel(values(impressions=1_000, clicks=100, visits=80, orders=4), USUAL)
    assert [step.name for step in steps] == ["click", "visit", "order"]
    assert all(step.excess_loss == pytest.approx(0) for step in steps)
    assert worst(steps) is None


def test_a_loss_is_counted_in_orders_whatever_step_it_is_at() -> None:
    # Half of the clicks do not arrive at a page: 4,000 visits less, of which 5 % would order.
    steps = funnel(values(impressions=100_000, clicks=10_000, visits=4_000, orders=200), USUAL)
    found = {step.name: step.excess_loss for step in steps}
    assert found == {"click": 0.0, "visit": pytest.approx(200.0), "order": pytest.approx(0.0)}
    most = worst(steps)
    assert most is not None
    assert (most.name, most.rate, most.reference) == ("visit", 0.4, 0.8)


def test_lost_orders_decide_the_worst_step() -> None:
    """The worst step is the one that loses most orders, not most entries."""
    # 30,000 impressions' clicks are worth 120 orders, the checkout loses 180 of 280.
    steps = funnel(values(impressions=100_000, clicks=7_000, visits=5_600, orders=100), USUAL)
    most = worst(steps)
    assert most is not None
    assert most.name == "order"


def test_few_events_prove_nothing() -> None:
    steps = funnel(values(impressions=20, clicks=1, visits=1, orders=0), USUAL)
    assert worst(steps) is None


def test_registrations_and_leads_are_one_step() -> None:
    """Registrations and leads are one step of the funnel, if there are any."""
    usual = USUAL | values(registrations=1_000, leads=600)
    steps = funnel(usual, usual)
    assert [(step.name, step.entered, step.passed) for step in steps][2:] == [
        ("interest", 8_000, 1_600),
        ("order", 1_600, 400),
    ]


def test_repeat_orders_are_the_last_step() -> None:
    """Repeated orders are a step after the order, and change no loss of earlier steps."""
    usual = USUAL | values(repeat_orders=100)
    now = values(impressions=100_000, clicks=10_000, visits=4_000, orders=200, repeat_orders=10)
    found = {step.name: step.excess_loss for step in funnel(now, usual)}
    assert found == {
        "click": 0.0,
        "visit": pytest.approx(200.0),
        "order": pytest.approx(0.0),
        "repeat": pytest.approx(40.0),
    }
