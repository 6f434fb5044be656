"""Orders that no click led to: what is absent then, and what the monitor says of it."""

from __future__ import annotations

from typing import Any

from models.window import HOUR_MS, MINUTE_MS
from streams.kpis.view import KpiView
from tests.support.customers import context
from tests.support.offline import NOON, ClosedKey, Path, event

OF_TOUCHES = {
    f"{what}_{model}"
    for what in ("orders", "revenue")
    for model in ("first_touch", "last_touch", "linear")
} | {"attribution_spread"}


def order(minute: int, user: str) -> dict[str, Any]:
    at = NOON + minute * MINUTE_MS
    return event("order_placed", at=at, event_id=f"e{minute}", order_id=f"o{minute}", user_id=user)


def played(clicking: str) -> Path:
    """Return the path after clicks of one user, and orders of another for an hour and a half."""
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    clicks = [
        event("click", at=NOON + n * 1_000, event_id=f"c{n}", user_id=clicking) for n in (1, 2)
    ]
    path.feed([*clicks, *(order(minute, "erin@shop") for minute in range(1, 90))], batch=30)
    path.finish()
    return path


def values(path: Path) -> dict[str, Any]:
    return path.closed[ClosedKey("1h", NOON + HOUR_MS)]


def shown(path: Path) -> KpiView:
    view = path.kpis.view
    assert view is not None
    return view


def test_models_are_absent_without_a_touch() -> None:
    """Clicks of cookies and orders of addresses: no model credits, and the reason is a figure."""
    path = played("cookie-1")
    assert not OF_TOUCHES & values(path).keys()
    assert values(path)["orders_declared"][0] == 59
    assert values(path)["orders_with_touch"][0] == 0
    share = shown(path).health.orders_with_touch
    assert share is not None
    assert share.value == 0
    assert share.n > 80


def test_models_have_values_with_a_touch() -> None:
    path = played("erin@shop")
    assert values(path).keys() >= OF_TOUCHES
    assert values(path)["orders_with_touch"][0] == 1


def test_orders_without_any_click_have_no_share() -> None:
    """Without a topic of clicks nobody can tell whether orders lack theirs."""
    path = Path(now_ms=NOON + 5 * HOUR_MS, customers=context())
    path.feed([order(minute, "erin@shop") for minute in range(1, 90)], batch=30)
    path.finish()
    assert "orders_with_touch" not in values(path)
    assert shown(path).health.orders_with_touch is None
