"""Long work as a generator: each step is short, and between two steps others get their turn.

A worker has one event loop. Heartbeats, Redis, checkpoints and signals wait while a
stage computes, so no stage may compute for long at once. Work whose length depends on
the data is therefore a generator: it yields after each short step, and the caller decides
when to go on. What is computed does not depend on when that is.

    def summed(numbers: Sequence[int]) -> Steps[int]:
        total = 0
        for number in numbers:
            total += number
            yield
        return total
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")
Item = TypeVar("Item")

Steps = Generator[None, None, Result]
"""Work that yields after each step of a few milliseconds, and returns its result."""

OutOfTime = Callable[[], bool]
"""Returns whether the time slice is used up; asked after each step."""


SLICE_S = 0.02
"""So long a worker computes before others get their turn. A step may take that a little over."""
PAUSE_S = 0.001
"""So long the others get at least: time for a chain of callbacks, not for one of them."""


class Slice:
    """A slice of time that begins now."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + SLICE_S

    def used_up(self) -> bool:
        """Return whether it is over."""
        return time.monotonic() >= self._ends_at

    async def give_way(self) -> None:
        """Let others have their turn if it is over; then the next one begins."""
        if self.used_up():
            await asyncio.sleep(PAUSE_S)
            self._ends_at = time.monotonic() + SLICE_S


class StepOf:
    """The size of one step: so many things, or fewer that are large.

    Args:
        things: at most.
        entries: about so many in all of them; then they are enough, too.
    """

    def __init__(self, things: int, *, entries: int) -> None:
        self._most = things, entries
        self._things = self._entries = 0

    def enough(self, entries: int) -> bool:
        """Count a thing that was done; return whether the step ends with it."""
        self._things += 1
        self._entries += entries
        ends = self._things >= self._most[0] or self._entries >= self._most[1]
        if ends:
            self._things = self._entries = 0
        return ends


def at_once(steps: Steps[Result]) -> Result:
    """Do all steps and return the result: for what is short, and for tests."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result


def in_groups(items: Iterable[Item], *, of: int) -> Iterator[list[Item]]:
    """Yield the items in lists of ``of``, the last one shorter.

    Each list is the work of one step.
    """
    group: list[Item] = []
    for item in items:
        group.append(item)
        if len(group) == of:
            yield group
            group = []
    if group:
        yield group
