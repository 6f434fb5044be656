"""Feeds a broker with records and a display of the progress, and with the synthetic campaign."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from rich.console import Console

from models.campaigns.campaign import Campaign
from streams.errors import FeedError
from streams.operations import producer
from streams.operations.progress import progress
from streams.operations.synthetic import SCENARIOS, FeedRecord, Scenario, Synthetic, staged
from streams.settings import Settings

__all__ = ["SCENARIOS", "complete", "define", "parse_scenario", "parse_speed", "send", "synthetic"]

DEFINITIONS_SETTLE_S = 1.0
"""Seconds within which running workers have read new campaigns from the registry."""


def parse_speed(text: str) -> float | None:
    """Read a speed like 60x: seconds of event time per second of the clock; None for ``max``.

    Raises:
        FeedError: the text is neither ``max`` nor a positive number, with or without x.
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < math.inf:
        raise FeedError(f"speed {text!r}: use max, or a number like 60x")
    return speed


def parse_scenario(text: str, *, origin_ms: int, speed: float) -> Scenario:
    """Read NAME[@START[+LENGTH]], in seconds of the clock; START is 0 and LENGTH 30 if left out.

    Args:
        text: the scenario as the command line gives it.
        origin_ms: event time at which the feed begins.
        speed: seconds of event time per second of the clock.

    Raises:
        FeedError: the name is not known, or START or LENGTH is not a number.
    """
    name, _, when = text.partition("@")
    start, _, length = when.partition("+")
    if name not in SCENARIOS:
        raise FeedError(f"no scenario {name!r}; known: {', '.join(SCENARIOS)}")
    try:
        start_ms = origin_ms + round(float(start or 0) * speed * 1000)
        end_ms = start_ms + round(float(length or 30) * speed * 1000)
    except ValueError:
        raise FeedError(f"scenario {text!r}: use NAME@START+LENGTH in seconds") from None
    return Scenario(name, start_ms, end_ms)


async def send(
    settings: Settings,
    records: Iterator[FeedRecord],
    *,
    speed: float | None,
    console: Console,
    total: int | None = None,
    on_sent: Callable[[int], None] | None = None,
) -> int:
    """Send records with a display of the progress, and return their number.

    Args:
        settings: the broker.
        records: in the order to send them.
        speed: seconds of event time per second of the clock; None for as fast as possible.
        console: shows the progress.
        total: how many there are, if that is known.
        on_sent: called with the number of records sent, now and then, at the end, and if the task
            is cancelled.
    """
    async with producer.producer(settings.broker) as client:
        with progress(console) as shown:
            task = shown.add_task("sending", total=total, unit="events")

            def note_sent(count: int) -> None:
                shown.update(task, completed=count)
                if on_sent is not None:
                    on_sent(count)

            if speed is None:
                return await producer.send_all(client, records, on_sent=note_sent)
            return await producer.send_paced(client, records, speed=speed, on_sent=note_sent)


async def define(settings: Settings, campaigns: Iterable[Campaign]) -> None:
    """Send campaigns to the registry, and wait until running workers have read them."""
    async with producer.producer(settings.broker) as client:
        await producer.define(client, campaigns, topic=settings.registry_topic)
    await asyncio.sleep(DEFINITIONS_SETTLE_S)


async def complete(settings: Settings, ends: Mapping[str, int]) -> None:
    """Say in all partitions of each topic that no events before its end follow, in ms."""
    if not ends:
        return
    async with producer.producer(settings.broker) as client:
        for topic, through_ms in ends.items():
            await producer.complete(client, topic, through_ms=through_ms)


async def synthetic(
    settings: Settings,
    *,
    speed: str,
    rate: float,
    seconds: float,
    seed: int,
    scenarios: list[str],
    console: Console,
) -> int:
    """Send a synthetic campaign and return the number of records sent.

    At speed 1x event time begins now; at any other speed it begins early enough to end now.

    Args:
        settings: the broker, the topics and the currency.
        speed: as `parse_speed` reads it.
        rate: clicks a second of event time.
        seconds: of the clock that the feed takes; with ``max``, seconds of event time.
        seed: the same seed gives the same events.
        scenarios: as `parse_scenario` reads them.
        console: shows the progress.
    """
    factor = parse_speed(speed)
    length_ms = round(seconds * (factor or 1.0) * 1000)
    now_ms = int(time.time() * 1000)
    start_ms = now_ms if factor == 1.0 else now_ms - length_ms
    start_ms -= start_ms % 100
    made = Synthetic(
        seed=seed,
        clicks_per_second=rate,
        topics=settings.source_topics,
        currency=settings.currency,
    )
    for text in scenarios:
        made.add(parse_scenario(text, origin_ms=start_ms, speed=factor or 1.0))
    await define(settings, staged(start_ms))
    records = made.records(start_ms, start_ms + length_ms)
    return await send(settings, records, speed=factor, console=console)
