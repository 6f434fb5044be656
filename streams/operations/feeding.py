"""Feeds a broker: the synthetic campaign or the rows of a file, with progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from streams.errors import FeedError
from streams.operations import event_files, producer
from streams.operations.synthetic import SCENARIOS, FeedRecord, Scenario, Synthetic, staged
from streams.settings import Settings

__all__ = ["SCENARIOS", "file", "parse_scenario", "parse_speed", "synthetic"]

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
    if speed <= 0:
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


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} records"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


async def _send(
    settings: Settings,
    records: Iterator[FeedRecord],
    *,
    speed: float | None,
    console: Console,
    total: int | None,
) -> int:
    async with producer.producer(settings.broker) as client:
        with _progress(console) as progress:
            task = progress.add_task("sending", total=total)

            def on_sent(count: int) -> None:
                progress.update(task, completed=count)

            if speed is None:
                return await producer.send_all(client, records, on_sent=on_sent)
            return await producer.send_paced(client, records, speed=speed, on_sent=on_sent)


class FileFed(NamedTuple):
    """The number of records sent, and the file with its counts of other rows."""

    sent: int
    rows: event_files.EventFile


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
    async with producer.producer(settings.broker) as client:
        await producer.define(client, staged(start_ms), topic=settings.registry_topic)
    await asyncio.sleep(DEFINITIONS_SETTLE_S)
    return await _send(
        settings,
        made.records(start_ms, start_ms + length_ms),
        speed=factor,
        console=console,
        total=None,
    )


async def file(
    settings: Settings,
    *,
    path: Path,
    mapping_file: Path,
    speed: str,
    refused: Path | None = None,
    console: Console,
) -> FileFed:
    """Send the rows of a file.

    Args:
        settings: the broker and the topics.
        path: the file.
        mapping_file: maps its rows to events.
        speed: as `parse_speed` reads it.
        refused: the file of the refused rows; None for one beside the input.
        console: shows the progress.

    Raises:
        ConfigError: the mapping is not valid.
        FeedError: the speed is not valid, or the file does not fit the mapping.
    """
    factor = parse_speed(speed)
    mapping = event_files.load_mapping(mapping_file)
    if mapping.campaigns:
        async with producer.producer(settings.broker) as client:
            await producer.define(client, mapping.campaigns, topic=settings.registry_topic)
        await asyncio.sleep(DEFINITIONS_SETTLE_S)
    if factor is not None:
        console.print(
            f"The log is sent {factor:g} times as fast as it was written; --speed max sends it at "
            "once.",
            highlight=False,
        )
    rows = event_files.EventFile(
        path,
        mapping,
        topics=settings.source_topics,
        largest_bytes=settings.largest_record_bytes,
        refused_path=refused or path.with_name(f"{path.name}.refused.ndjson"),
    )
    sent = await _send(settings, rows.records(), speed=factor, console=console, total=None)
    return FileFed(sent, rows)
