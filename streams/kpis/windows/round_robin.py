"""What is made anew in turn, so that records do not wait for all of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from models.window import align_down
from streams.engine.steps import Steps

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class RoundRobin(Generic[Key, Made]):
    """Values that are made anew once the frontier has passed a step, one in a tick.

    They are for people: the newest end counts, ends in between are left out.

    Args:
        step_ms: ends are multiples of it.
        due: returns what there is at an end, in the order in which it is shown.
        make: returns the value of one at an end; None where it is not known.
    """

    def __init__(
        self,
        *,
        step_ms: int,
        due: Callable[[int], Iterable[Key]],
        make: Callable[[Key, int], Steps[Made | None]],
    ) -> None:
        self._step_ms = step_ms
        self._due = due
        self._make = make
        self._end = 0
        self._made: dict[Key, tuple[int, Made | None]] = {}

    @property
    def latest(self) -> tuple[Made, ...]:
        """The newest values of what there is."""
        return tuple(made for _, made in self._made.values() if made is not None)

    def compute_next(self, frontier_ms: int) -> Steps[None]:
        """Make the value that has waited longest, if any waits.

        Args:
            frontier_ms: event time up to which everything is complete.
        """
        end = align_down(frontier_ms, step_ms=self._step_ms)
        if end > self._end:
            self._end = end
            self._made = {key: self._made.get(key, (0, None)) for key in self._due(end)}
        waiting = [key for key, (at, _) in self._made.items() if at < self._end]
        if waiting:
            key = min(waiting, key=lambda one: self._made[one][0])
            made = yield from self._make(key, end)
            self._made[key] = end, made
