"""Outliers among peers: who is far from what is usual among others of the same kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kpi.catalogue import CATALOGUE
from models.kpi.definition import KpiValue
from models.scope import Scope
from streams.analysis.peer_outliers import (
    FEWEST_PEERS,
    Z_LIMIT,
    Peer,
    outliers,
    peer_group,
)
from streams.kpis.calculation.kpi_calculator import KpiValues

Z = pytest.approx
KPIS = list(CATALOGUE.values())


def channels(kpi: str, *values: float | KpiValue, campaign: str = "") -> dict[Scope, KpiValues]:
    """Return channels c0, c1 and so on, each with one KPI."""
    kind = "campaign_channel" if campaign else "channel"
    return {
        Scope(kind, campaign, f"c{number}"): {
            kpi: value if isinstance(value, KpiValue) else KpiValue(value, n=1_000)
        }
        for number, value in enumerate(values)
    }


def scored(*values: float) -> tuple[float, list[float]]:
    """Return the median and the scores of values."""
    group = peer_group(values)
    assert group is not None
    assert group.peers == len(values)
    return group.median, [group.z(value) for value in values]


def test_scores_are_those_computed_by_hand() -> None:
    # The median is 3, the distances 2 1 0 1 97, their median 1.
    assert scored(1, 2, 3, 4, 100) == (
        3,
        [Z(-2 * 0.6745), Z(-0.6745), 0, Z(0.6745), Z(97 * 0.6745)],
    )
    # Of an even number it is the mean of the two in the middle: 3.5, 2.5 1.5 0.5 0.5 1.5 2.5.
    assert scored(4, 1, 3, 2, 6, 5) == (
        3.5,
        [Z(off * 0.6745 / 1.5) for off in (0.5, -2.5, -0.5, -1.5, 2.5, 1.5)],
    )


def test_mean_distance_if_half_are_equal() -> None:
    """If half of the values are equal, the mean distance is used instead of the median distance."""
    # The distances are 0 0 0 0 10 and their mean 2.
    assert scored(5, 5, 5, 5, 15) == (5, [0, 0, 0, 0, Z(10 / (1.2533 * 2))])


def test_values_that_differ_by_rounding_only_do_not_differ() -> None:
    assert scored(0.3, 0.1 + 0.2, 0.3, 0.1 * 3, 0.3) == (Z(0.3), [0] * 5)


def test_an_outlier_says_what_it_was_compared_with() -> None:
    # The median is 0.03, the distances 0.001 0.001 0 0.002 0.017, their median 0.001.
    found = outliers(channels("conversion_rate", 0.029, 0.031, 0.03, 0.032, 0.013), KPIS)
    assert found == [
        Peer(
            kpi="conversion_rate",
            scope=Scope("channel", channel="c4"),
            value=0.013,
            median=0.03,
            z=Z(-17 * 0.6745),
            peers=5,
            better=False,
        )
    ]


@pytest.mark.parametrize(
    ("kpi", "far", "better"),
    [("roas", 90.0, True), ("roas", 0.1, False), ("cpc", 90.0, False), ("cpc", 0.1, True)],
)
def test_better_is_the_side_that_the_kpi_calls_better(kpi: str, far: float, better: bool) -> None:
    (found,) = outliers(channels(kpi, 10.0, 10.5, 11.0, 11.5, far), KPIS)
    assert (found.value, found.better) == (far, better)


@pytest.mark.parametrize("kpi", ["clicks", "revenue_gross", "traffic_uplift", "followers", "stock"])
def test_size_is_no_outlier(kpi: str) -> None:
    assert outliers(channels(kpi, 1, 2, 3, 4, 1_000), KPIS) == []


def test_neutral_kpi_has_no_outliers() -> None:
    """A KPI of which neither more nor less is better has no outliers."""
    assert outliers(channels("attribution_spread", 0.1, 0.11, 0.12, 0.13, 0.9), KPIS) == []


def test_four_peers_prove_nothing() -> None:
    assert outliers(channels("ctr", 0.1, 0.11, 0.12, 0.9), KPIS) == []


def test_what_is_not_significant_is_no_peer() -> None:
    few = KpiValue(0.9, n=3, significant=False)
    assert outliers(channels("ctr", 0.1, 0.11, 0.12, 0.13, few), KPIS) == []
    assert outliers(channels("ctr", 0.1, 0.11, 0.12, 0.9, few), KPIS) == []
    (found,) = outliers(channels("ctr", 0.1, 0.11, 0.12, 0.13, 0.9, few), KPIS)
    assert (found.value, found.peers) == (0.9, 5)


@pytest.mark.parametrize(
    ("low", "high", "excludes"),
    [(0.13, 1.0, True), (0.12, 1.0, False), (0.05, 1.0, False)],
)
def test_an_interval_that_reaches_the_median_explains_it(
    low: float, high: float, excludes: bool
) -> None:
    above = KpiValue(0.9, low, high, 1_000)
    assert bool(outliers(channels("ctr", 0.1, 0.11, 0.12, 0.13, above), KPIS)) == excludes
    below = KpiValue(-0.9, -high, -low, 1_000)
    mirrored = channels("roi", -0.1, -0.11, -0.12, -0.13, below)
    assert bool(outliers(mirrored, KPIS)) == excludes


def test_a_campaigns_channels_are_compared_among_themselves() -> None:
    values = channels("roas", 1.0, 1.1, 1.2, 1.3, 1.4, campaign="small")
    values |= channels("roas", 8.0, 8.1, 8.2, 8.3, 1.4, campaign="large")
    (found,) = outliers(values, KPIS)
    assert found.scope == Scope("campaign_channel", "large", "c4")


@pytest.mark.parametrize("kind", ["campaign", "region"])
def test_campaigns_and_regions_are_peers(kind: str) -> None:
    values: dict[Scope, KpiValues] = {
        Scope(kind, **{kind: f"k{number}"}): {"csat": KpiValue(value, n=100)}
        for number, value in enumerate([4.1, 4.2, 4.3, 4.4, 1.2])
    }
    assert [str(found.scope) for found in outliers(values, KPIS)] == [f"{kind}=k4"]


def test_scopes_without_peers() -> None:
    """Segments, and the regions of a campaign, are not compared with peers."""
    values = {
        scope: {"csat": KpiValue(value, n=100)}
        for number, value in enumerate([4.1, 4.2, 4.3, 4.4, 1.2])
        for scope in (
            Scope("segment", segment=f"k{number}"),
            Scope("campaign_region", "c", region=f"k{number}"),
        )
    }
    assert outliers(values, KPIS) == []


def test_unnamed_scopes_are_no_peers() -> None:
    """Scopes of events without a campaign or channel are not compared with peers."""
    values = channels("aov", 10.0, 11.0, 12.0, 13.0)
    for name in ("(none)", "(direct)"):
        values[Scope("channel", channel=name)] = {"aov": KpiValue(900.0, n=100)}
    for name in ("(none)", "(unknown)"):
        values |= channels("aov", 10.0, 11.0, 12.0, 13.0, 900.0, campaign=name)
    assert outliers(values, KPIS) == []


def test_only_what_may_be_judged_is_judged() -> None:
    values = channels("ctr", 0.1, 0.11, 0.12, 0.13, 0.9)
    assert outliers(values, [CATALOGUE["roas"]]) == []


def test_the_farthest_come_first_and_equals_in_one_order() -> None:
    values = channels("ctr", 10, 11, 12, 13, 14, 50, 40)
    for scope, of_scope in channels("csat", 10, 11, 12, 13, 14, 50, 40).items():
        values[scope] = {**of_scope, **values[scope]}
    found = [(one.kpi, one.scope.channel) for one in outliers(values, KPIS)]
    assert found == [("csat", "c5"), ("ctr", "c5"), ("csat", "c6"), ("ctr", "c6")]


whole = st.integers(-1_000, 1_000)
"""Whole numbers, so that shifting and scaling them rounds nothing."""
members = st.lists(whole, min_size=FEWEST_PEERS, max_size=30)


def scores(values: list[int]) -> list[float]:
    return scored(*values)[1]


@given(members, whole, st.sampled_from([-8, -1, 1, 2, 1024]))
def test_shifting_and_scaling_changes_no_score(values: list[int], shift: int, scale: int) -> None:
    sign = 1 if scale > 0 else -1
    moved = scores([scale * value + shift for value in values])
    assert moved == Z([sign * score for score in scores(values)])


@given(st.data(), members)
def test_the_order_of_the_members_changes_nothing(data: st.DataObject, values: list[int]) -> None:
    named = channels("roas", *values)
    shuffled = dict(data.draw(st.permutations(list(named.items()))))
    assert outliers(shuffled, KPIS) == outliers(named, KPIS)


@given(st.lists(whole, min_size=FEWEST_PEERS - 1, max_size=30), st.sampled_from([-1, 1]))
def test_far_value_is_an_outlier(others: list[int], side: int) -> None:
    """A value that is far from all others is an outlier."""
    far = side * 1_000_000
    found = outliers(channels("roas", *others, far), KPIS)
    assert (found[0].value, found[0].better) == (far, side > 0)


@given(st.floats(-1e9, 1e9), st.integers(1, 30))
def test_equals_are_never_outliers(value: float, count: int) -> None:
    assert outliers(channels("roas", *[value] * count), KPIS) == []


@given(members)
def test_less_than_half_are_outliers(values: list[int]) -> None:
    beyond = [score for score in scores(values) if abs(score) > Z_LIMIT]
    assert len(outliers(channels("roas", *values), KPIS)) == len(beyond) < len(values) / 2
