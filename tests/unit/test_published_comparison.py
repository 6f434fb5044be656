"""Tests the allowances of the comparison that the chaos scenarios are judged by."""

from __future__ import annotations

from typing import Any

import pytest

from models.kpi.catalogue import CATALOGUE
from models.kpi.formula import names_in
from models.kpi.measures import UNIONS
from tests.support import oracle
from tests.support.compare import BUYER_KPIS, differences, holding, without_moved

MINUTE = 60_000
NOON = 12 * 60 * MINUTE
HERE = ("1m", NOON + MINUTE, "campaign_channel", "(none)", "(direct)", "", "")
ALL = ("1m", NOON + MINUTE, "all", "", "", "", "")
AN_ORDER = NOON + 1_000


def _got(**kpis: float) -> dict[str, list[Any]]:
    return {kpi: [value, None, None, 1, True] for kpi, value in kpis.items()}


def _true(**kpis: float) -> dict[str, oracle.Value]:
    return {kpi: oracle.Value(value, None, None, 1, True) for kpi, value in kpis.items()}


def _differences(
    got: dict[oracle.Key, dict[str, list[Any]]],
    expected: dict[oracle.Key, dict[str, oracle.Value]],
    *,
    moved: tuple[int, ...] = (AN_ORDER,),
    past: tuple[int, int, int] | None = None,
) -> list[str]:
    pasts = {key[:2]: past for key in got.keys() | expected.keys()}
    return differences(*without_moved(got, expected, moved, pasts, "UTC"))


def test_buyer_kpis_are_listed() -> None:
    """`BUYER_KPIS` lists every KPI whose formula or n contains a set of buyers."""
    sets = {"buyers", "returning", *(name for name, of in UNIONS.items() if "buyers" in of)}

    found = {name for name, kpi in CATALOGUE.items() if sets & {*names_in(kpi.parsed), kpi.n or ""}}

    assert found == BUYER_KPIS


def test_moved_order_may_leave_a_buyer() -> None:
    """A scope whose only order was moved may keep its buyer, and zeros."""
    assert _differences({HERE: _got(buyers=1, orders=0)}, {}) == []


def test_zeros_and_buyers_may_stay_beside_what_is_true() -> None:
    assert _differences({HERE: _got(buyers=2, orders=0, clicks=3)}, {HERE: _true(clicks=3)}) == []


def test_zeros_stay_until_midnight() -> None:
    """After an order was moved, its zeros may stay for the rest of the day; a buyer may not."""
    earlier = (NOON - 5 * MINUTE,)

    assert _differences({HERE: _got(orders=0)}, {}, moved=earlier) == []
    assert len(_differences({HERE: _got(buyers=1)}, {}, moved=earlier)) == 1
    assert len(_differences({HERE: _got(orders=0)}, {}, moved=(NOON - 13 * 60 * MINUTE,))) == 1


def test_retention_may_lack_a_buyer_of_the_days_before() -> None:
    got, true = {HERE: _got(retention_rate=0.5)}, {HERE: _true(retention_rate=1.0)}
    earlier = (NOON - 30_000,)

    assert _differences(got, true, moved=earlier, past=(NOON - MINUTE, NOON, NOON)) == []
    assert len(_differences(got, true, moved=earlier)) == 1


@pytest.mark.parametrize(
    ("got", "true"),
    [
        ({HERE: _got(orders=1)}, {}),
        ({HERE: _got(buyers=1, orders=2)}, {HERE: _true(orders=1)}),
        ({HERE: _got(buyers=1)}, {HERE: _true(orders=1)}),
        ({}, {HERE: _true(orders=1)}),
        ({ALL: _got(buyers=1)}, {}),
        ({ALL: _got(orders=0)}, {}),
    ],
)
def test_nothing_else_is_allowed(
    got: dict[oracle.Key, dict[str, list[Any]]], true: dict[oracle.Key, dict[str, oracle.Value]]
) -> None:
    assert len(_differences(got, true)) == 1


def test_window_is_half_open() -> None:
    """A window holds events from its start on, up to but without its end."""
    windows = [("1m", MINUTE, 2 * MINUTE), ("so_far", 0, 2 * MINUTE), ("1m", 0, MINUTE)]
    assert holding(windows, []) == []
    assert holding(windows, [MINUTE]) == [("1m", MINUTE, 2 * MINUTE), ("so_far", 0, 2 * MINUTE)]
    assert holding(windows, [2 * MINUTE, 0]) == [("1m", 0, MINUTE), ("so_far", 0, 2 * MINUTE)]


def test_without_a_late_click_nothing_is_allowed() -> None:
    assert len(_differences({HERE: _got(buyers=1)}, {}, moved=())) == 1
