"""Recomputes expensive values one at a time, so that ingestion is not delayed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from models.window import align_down
from streams.engine.steps import Steps

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class RoundRobin(Generic[Key, Made]):
    """Values by key, recomputed when the frontier passes a step, one in each call.

    The values are only shown to people, so only the newest end counts: a value that was not
    computed before the next end is computed for that one. Values computed for an earlier end
    stay in `latest` until they are recomputed or their key is no longer due.

    Args:
        step_ms: ends are multiples of this, event time in ms.
        due: returns the keys at an end, in the order in which they are shown.
        make: computes the value of a key at an end; None if it is not known.
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
        """The newest known values, in the order of their keys."""
        return tuple(made for _, made in self._made.values() if made is not None)

    def compute_next(self, frontier_ms: int) -> Steps[None]:
        """Compute the value that was computed longest ago, if one is out of date.

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
