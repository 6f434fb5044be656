"""A worker that breaks the promises on purpose: the harness must notice it."""

from __future__ import annotations

from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario


@scenario(module="tests.support.forgetful_worker", sabotage=True, feed_on_s=5.0)
def sabotage(arena: Arena) -> None:
    """A worker silently drops one event in five hundred."""
    with arena.fault():
        pass
