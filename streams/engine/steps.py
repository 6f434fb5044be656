"""Long work as generators, which run in slices of 20 ms.

A worker has one event loop. Heartbeats, Redis, checkpoints and signals wait while a stage
computes, so no stage may compute for long at once. Work whose length depends on the data
is therefore a generator. It yields after each short step, and the caller decides when to
go on. The result does not depend on where slices end.

    def summed(numbers: Sequence[int]) -> Steps[int]:
        total = 0
        for number in numbers:
            total += number
            yield
        return total

Example: closing a window takes 50 steps of 3 ms, 150 ms in all. A slice is used up after
7 steps, at 21 ms. Then the event loop serves everything else for 1 ms or more. The window
is closed after 8 slices: 7 of 7 steps and one of 1 step, 150 ms of work and 7 pauses. A
heartbeat of the consumer group waits 21 ms at most, not 150 ms.
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
"""Returns whether the slice is used up; called after each step."""


SLICE_S = 0.02
"""Length of a slice, in s. The last step of a slice may overrun it a little."""
PAUSE_S = 0.001
"""Least pause between two slices, in s: time for a chain of callbacks, not just for one."""


class Slice:
    """A slice of time that begins when it is created."""

    def __init__(self) -> None:
        self._ends_at = time.monotonic() + SLICE_S

    def used_up(self) -> bool:
        """Return whether the slice is over."""
        return time.monotonic() >= self._ends_at

    async def give_way(self) -> None:
        """If the slice is over, let other tasks run for `PAUSE_S`, then begin the next slice."""
        if self.used_up():
            await asyncio.sleep(PAUSE_S)
            self._ends_at = time.monotonic() + SLICE_S


class StepOf:
    """Limits the size of one step: a number of things, or fewer if they are large.

    Args:
        things: the step ends after this many things.
        entries: it also ends once its things have this many entries in all.
    """

    def __init__(self, things: int, *, entries: int) -> None:
        self._most = things, entries
        self._things = self._entries = 0

    def enough(self, entries: int) -> bool:
        """Count a thing that is done, with its entries; return whether the step ends with it."""
        self._things += 1
        self._entries += entries
        ends = self._things >= self._most[0] or self._entries >= self._most[1]
        if ends:
            self._things = self._entries = 0
        return ends


def at_once(steps: Steps[Result]) -> Result:
    """Run all steps and return the result: for short work, and for tests."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result


def in_groups(items: Iterable[Item], *, of: int) -> Iterator[list[Item]]:
    """Yield the items in lists of ``of``; the last one may be shorter.

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
