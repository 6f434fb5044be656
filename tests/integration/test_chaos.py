"""The scenarios of the fault harness that CI plays, and that the harness can fail.

`make chaos` plays all of them. `make test` plays the sabotage and two faults, `make
test-slow` the others that CI plays. Those that the chosen tests are about are played before
the first of them, two at a time, each in a process of its own with its own Kafka.
"""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.chaos import faults  # noqa: F401 - registers the scenarios
from tests.chaos.arena import Outcome
from tests.chaos.playing import play
from tests.chaos.scenario import SCENARIOS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

FAST = ("broker-killed", "workers-killed-again-and-again")
SABOTAGE = "sabotage"
PLAYED = [
    pytest.param(one.name, marks=() if one.name in FAST else pytest.mark.slow)
    for one in SCENARIOS.values()
    if one.in_ci
]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Outcome]:
    chosen = [
        item.callspec.params["name"] if hasattr(item, "callspec") else SABOTAGE
        for item in request.session.items
        if item.path == request.path
    ]
    made = play([SCENARIOS[name] for name in chosen], jobs=2, keep=False, console=Console())
    return {outcome.scenario: outcome for outcome in made}


@pytest.mark.parametrize("name", PLAYED)
def test_fault_changes_no_result(name: str, outcomes: dict[str, Outcome]) -> None:
    """A fault loses no event, counts none twice, and leads to no wrong value."""
    outcome = outcomes[name]
    if outcome.not_played:
        pytest.skip(outcome.not_played)
    assert not outcome.failures
    if SCENARIOS[name].history:
        assert outcome.sent > 2_000
        assert outcome.windows > 20_000
    else:
        assert outcome.sent > 5_000
        assert outcome.windows > 20


def test_sabotage_is_detected(outcomes: dict[str, Outcome]) -> None:
    """The harness detects a worker that drops events."""
    outcome = outcomes[SABOTAGE]
    assert outcome.windows_wrong > 0
    assert any("values differ" in why for why in outcome.failures)
