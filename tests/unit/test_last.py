"""What is taken from the last evaluation of a window is what a calculation of all gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.campaigns import Campaign
from models.windows import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, Window
from streams.engine.steps import Steps
from streams.kpis import last, plain
from streams.kpis.evaluating import WindowEvaluator
from streams.kpis.last import Period
from streams.kpis.view import Evaluation
from tests.support.offline import NOON, Path, event

CAMPAIGNS = [f"c{number}" for number in range(1, 5)]
STEPS_MS = [0, 10_000, 50_000, 4 * MINUTE_MS, QUARTER_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS, 6 * DAY_MS]


class Checked(WindowEvaluator):
    """Evaluates every window twice, the second time with nothing known."""

    checked = 0
    reused = 0

    def evaluate(self, window: Window, end: int, **options: Any) -> Steps[Evaluation]:
        """Return the first, when both are equal."""
        found = yield from super().evaluate(window, end, **options)
        kept = self._last
        self._last = last.LastEvaluations(self._buckets.holds)
        anew = yield from super().evaluate(window, end, **options)
        self._last = kept
        assert found.values == anew.values
        assert (found.small, found.other) == (anew.small, anew.other)
        assert found.exhausted_ms == anew.exhausted_ms
        Checked.checked += 1
        return found

    def _replanned(self, *arguments: Any) -> Any:
        Checked.reused += 1
        return super()._replanned(*arguments)


moments = st.lists(
    st.tuples(
        st.sampled_from(STEPS_MS),
        st.sampled_from(["click", "order_placed", "spend_reported"]),
        st.sampled_from(CAMPAIGNS),
        st.sampled_from([0, 0, 0, 20_000, 15 * MINUTE_MS, 26 * HOUR_MS]),
    ),
    min_size=4,
    max_size=25,
)


def events_of(made: list[tuple[int, str, str, int]]) -> list[dict[str, Any]]:
    """Return events in order of arrival; some are late."""
    at_ms, events = NOON, []
    for number, (later_ms, kind, campaign, late_ms) in enumerate(made):
        at_ms += later_ms
        more: dict[str, Any] = {}
        if kind == "order_placed":
            more = {"order_id": f"o{number}"}
        if kind == "spend_reported":
            more = {"amount": "10.00", "currency": "CNY"}
        user = {} if kind == "spend_reported" else {"user_id": f"u{number % 3}"}
        events.append(
            event(
                kind,
                at=at_ms - late_ms,
                event_id=f"e{number}",
                campaign_id=campaign,
                channel=("search", "feed")[number % 2],
                **user,
                **more,
            )
        )
    return events


@pytest.mark.parametrize(("zone", "added_one_by_one"), [("UTC", 1_000), ("Europe/Berlin", 0)])
def test_equal_to_all(zone: str, added_one_by_one: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of which only what changed is calculated is equal to one calculated whole."""
    monkeypatch.setattr(last, "FEW_SCOPES", 0)
    monkeypatch.setattr(plain, "FEW", added_one_by_one)
    monkeypatch.setattr("streams.kpis.job.WindowEvaluator", Checked)
    monkeypatch.setattr(Checked, "checked", 0)
    monkeypatch.setattr(Checked, "reused", 0)

    @settings(max_examples=40, deadline=None)
    @given(made=moments, batch=st.integers(1, 5))
    def equal(made: list[tuple[int, str, str, int]], batch: int) -> None:
        planned = {
            "budget": {"amount": "100", "currency": "CNY"},
            "starts": "2023-11-14T00:00:00Z",
            "ends": "2023-11-24T00:00:00Z",
        }
        path = Path(
            now_ms=NOON + 90 * DAY_MS,
            zone=zone,
            campaigns=[
                Campaign.model_validate({"id": "c1", **planned}),
                *(Campaign(id=name) for name in CAMPAIGNS[1:]),
            ],
        )
        path.feed(events_of(made), batch=batch)
        path.finish()

    equal()
    assert Checked.reused > Checked.checked / 3


def period(end: int, **others: Any) -> Period:
    """Return five minutes and the five before them."""
    start = end - 5 * MINUTE_MS
    made = Period(start, end, (start - 5 * MINUTE_MS, start), 0, 6, 6)
    return made._replace(**others)


def test_a_minute_later() -> None:
    """What entered and what left lies in three minutes."""
    later = period(NOON + MINUTE_MS)
    assert later.changed_since(period(NOON)) == [
        (NOON - 10 * MINUTE_MS, NOON - 9 * MINUTE_MS),
        (NOON - 5 * MINUTE_MS, NOON - 4 * MINUTE_MS),
        (NOON, NOON + MINUTE_MS),
    ]


@pytest.mark.parametrize("other", [{"previous": None}, {"day_start": 1}, {"version": 3}])
def test_nothing_in_common(other: dict[str, Any]) -> None:
    """After midnight, or with a period before that was not known, all is calculated."""
    assert period(NOON + MINUTE_MS, **other).changed_since(period(NOON)) is None
    assert period(NOON).changed_since(period(NOON + MINUTE_MS)) is None
