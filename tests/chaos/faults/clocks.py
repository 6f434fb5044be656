"""Faults of clocks: the workers' clock is wrong, and steps."""

from __future__ import annotations

import time

from tests.chaos.arena import Arena
from tests.chaos.scenario import scenario

MODULE = "tests.support.stepped_clock"


@scenario(module=MODULE)
def clock_steps(arena: Arena) -> None:
    """The workers' clock is an hour ahead, then ten minutes behind, then right again."""
    with arena.fault():
        for offset_s in (3600, -600, 0):
            arena.set_clock(offset_s)
            time.sleep(12)
