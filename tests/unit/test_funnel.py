"""The funnel: which step loses more than usual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kpi.definition import KpiValue
from streams.analysis.funnel import BRANCHES, STEPS, funnel


def values(**counts: int) -> dict[str, KpiValue]:
    return {name: KpiValue(count) for name, count in counts.items()}


USUAL = values(impressions=100_000, clicks=10_000, visits=8_000, orders=400)


def test_nothing_is_lost_at_the_usual_rates() -> None:
    found = funnel(values(impressions=1_000, clicks=100, visits=80, orders=4), USUAL)
    assert [step.name for step in found.steps] == ["click", "visit", "order"]
    assert all(step.excess_loss == pytest.approx(0) for step in found.steps)
    assert found.worst is None


def test_a_loss_is_counted_in_orders_whatever_step_it_is_at() -> None:
    # Half of the clicks do not arrive at a page: 4,000 visits less, of which 5 % would order.
    found = funnel(values(impressions=100_000, clicks=10_000, visits=4_000, orders=200), USUAL)
    lost = {step.name: step.excess_loss for step in found.steps}
    assert lost == {"click": 0.0, "visit": pytest.approx(200.0), "order": pytest.approx(0.0)}
    most = found.worst
    assert most is not None
    assert (most.name, most.rate, most.reference) == ("visit", 0.4, 0.8)


def test_lost_orders_decide_the_worst_step() -> None:
    """The worst step is the one that loses most orders, not most entries."""
    # 30,000 impressions' clicks are worth 120 orders, the checkout loses 180 of 280.
    most = funnel(values(impressions=100_000, clicks=7_000, visits=5_600, orders=100), USUAL).worst
    assert most is not None
    assert most.name == "order"


def test_few_events_prove_nothing() -> None:
    assert funnel(values(impressions=20, clicks=1, visits=1, orders=0), USUAL).worst is None


def test_signups_are_branches() -> None:
    """Four times as many registrations and leads as usual lose no orders."""
    usual = USUAL | values(registrations=300, leads=100)
    now = USUAL | values(registrations=1_200, leads=400)
    found = funnel(now, usual)
    assert [step.name for step in found.steps] == ["click", "visit", "order"]
    assert found.worst is None
    told = [(one.name, one.left, one.rate, one.reference) for one in found.branches]
    assert told == [
        ("registration", "visit", 1_200 / 8_000, 300 / 8_000),
        ("lead", "visit", 400 / 8_000, 100 / 8_000),
    ]
    few = funnel(USUAL | values(registrations=100, leads=100), usual)
    (registration, lead) = few.branches
    assert (registration.significant, registration.excess_loss) == (True, 200.0)
    assert (lead.significant, few.worst) == (False, None)


def test_steps_that_do_not_contain_the_next() -> None:
    """With more visits than clicks, clicks are a branch of the impression."""
    usual = values(impressions=1_000, clicks=100, visits=300, orders=30)
    found = funnel(usual, usual)
    assert [(step.left, step.name) for step in found.steps] == [("visit", "order")]
    assert [(one.left, one.name) for one in found.branches] == [("impression", "click")]
    # Only a few visits are measured: orders follow from clicks.
    some = funnel(usual | values(visits=20), usual | values(visits=20))
    assert [(step.left, step.name) for step in some.steps] == [
        *(("impression", "click"), ("click", "order"))
    ]


def test_whoever_passed_has_entered() -> None:
    """Orders of an hour whose visits were earlier are 100 % of the visits, not more."""
    (order,) = funnel(values(visits=3, orders=4), values(visits=300, orders=30)).steps
    assert (order.entered, order.passed, order.rate) == (4, 4, 1.0)


def test_a_step_that_is_not_known_is_left_out() -> None:
    """Visits that are not known now, because their source is silent, are not lost."""
    now = values(impressions=100_000, clicks=10_000, orders=400)
    assert [step.name for step in funnel(now, USUAL).steps] == ["click", "order"]
    assert funnel(now, USUAL).worst is None


def test_uncertain_reference_proves_nothing() -> None:
    """A usual rate that rests on few events is uncertain itself."""
    now = values(clicks=1_000, orders=20)
    assert funnel(now, values(clicks=100_000, orders=4_000)).worst is not None
    assert funnel(now, values(clicks=100, orders=4)).worst is None


COUNTS = st.dictionaries(
    st.sampled_from([*STEPS.values(), *BRANCHES.values()]), st.integers(0, 10_000)
)


@given(COUNTS, COUNTS)
def test_no_rate_is_above_one(now: dict[str, int], usual: dict[str, int]) -> None:
    """Whatever the counts, rates are shares, and only less than usual is significant."""
    found = funnel(values(**now), values(**usual))
    for step in (*found.steps, *found.branches):
        assert 0 <= step.rate <= 1
        assert 0 < step.reference <= 1
        assert step.passed <= step.entered
        assert not step.significant or (step.rate < step.reference and step.excess_loss > 0)


def test_repeat_orders_are_the_last_step() -> None:
    """Repeated orders are a step after the order, and change no loss of earlier steps."""
    usual = USUAL | values(repeat_orders=100)
    now = values(impressions=100_000, clicks=10_000, visits=4_000, orders=200, repeat_orders=10)
    found = {step.name: step.excess_loss for step in funnel(now, usual).steps}
    assert found == {
        "click": 0.0,
        "visit": pytest.approx(200.0),
        "order": pytest.approx(0.0),
        "repeat": pytest.approx(40.0),
    }
