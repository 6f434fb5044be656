"""Runs a backtest: plays records to their end, and collects the firings of each file of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from models.window import PANE_MS, align_down, first_end_after
from streams.backtest.firings import Firing, firings
from streams.backtest.player import STEP_MS, Arrival, Player


class Run(NamedTuple):
    """The extent of a backtest that was played. Times are event times in ms.

    Args:
        from_ms: the time of the first event.
        to_ms: the end of the last window.
        records: the number of records that were played.
        dead_letters: how many of them were not counted.
        fired: for each file of rules, the firings.
    """

    from_ms: int
    to_ms: int
    records: int
    dead_letters: int
    fired: Sequence[list[Firing]]


def run(
    player: Player,
    records: Iterable[Arrival],
    *,
    allowed_disorder_ms: int,
    to_ms: int | None,
    on_step: Callable[[int], None],
) -> Run:
    """Play records, and the time until the windows up to their end are closed.

    Args:
        player: plays them.
        records: in the order in which they arrived.
        allowed_disorder_ms: by how much windows close later than they end.
        to_ms: the broker time at which they end; None for the end of the last one's pane.
        on_step: called after each step with the number of records that were played.
    """
    for _ in player.play(records):
        on_step(player.records)
    end_ms = first_end_after(player.last_ms, step_ms=PANE_MS) if to_ms is None else to_ms
    if player.last_ms:
        for _ in player.finish(end_ms + allowed_disorder_ms + STEP_MS):
            on_step(player.records)
    return Run(
        player.begun_ms,
        align_down(player.closed_ms, step_ms=PANE_MS),
        player.records,
        player.dead_letters,
        [firings(outputs) for outputs in player.alerts],
    )
