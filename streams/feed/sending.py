"""Feeds a file: reads all of it, reports, and sends its events in the order of their times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError
from rich.console import Console

from models.events import SOURCE_KINDS
from streams.errors import FeedError
from streams.feed.mapped_file import MappedFile
from streams.feed.position import Position, fingerprint
from streams.operations import feeding
from streams.operations.progress import progress
from streams.operations.synthetic import FeedRecord
from streams.settings import Settings


class Sent(NamedTuple):
    """The progress of a file that was sent, whole or in part.

    Args:
        sent: the number of its events that were sent, those of an earlier feed included.
        total: the number of its events.
        position_kept: whether ``--resume`` can continue, if it was stopped.
    """

    sent: int
    total: int
    position_kept: bool = True


def read(
    settings: Settings, *, path: Path, mapping_path: Path, refused: Path | None, console: Console
) -> MappedFile:
    """Read all rows of a file through its mapping; nothing is sent.

    Args:
        settings: the largest size of a record, and the key of hashed fields.
        path: the file.
        mapping_path: its mapping file.
        refused: the file of refused rows; None for one beside the input.
        console: shows the progress.

    Raises:
        ConfigError: the mapping is not valid, or the key of hashed fields is missing.
        FeedError: the file does not fit the mapping, or refused rows would replace it.
    """
    if refused is not None and refused.exists() and refused.samefile(path):
        raise FeedError(f"{refused}: is the file that is fed; name another one with --refused")
    mapped = MappedFile(
        path,
        mapping_path,
        largest_bytes=settings.largest_record_bytes,
        refused_path=refused or path.with_name(f"{path.name}.refused.ndjson"),
        hash_key=lambda: settings.hash_secret,
    )
    with progress(console) as shown:
        task = shown.add_task("reading", total=None, unit="rows")
        mapped.read(lambda rows: shown.update(task, completed=rows))
    return mapped


def send(
    settings: Settings,
    mapped: MappedFile,
    *,
    speed: str,
    resume: bool,
    console: Console,
) -> Sent:
    """Send the events of a file that was read.

    Ctrl-C stops the sending: the result then has fewer events than the file, and the position is
    kept in a file beside the log.

    Args:
        settings: the broker and the topics.
        mapped: the file.
        speed: as `feeding.parse_speed` reads it.
        resume: whether to continue where an earlier feed of the file stopped.
        console: shows the progress.

    Raises:
        FeedError: the speed is not valid, the position does not fit ``resume``, or the broker
            stopped answering; the message says after how many events.
    """
    factor = feeding.parse_speed(speed)
    path, total = mapped.path, len(mapped.sorter)
    position = Position(
        path.with_name(f"{path.name}.position.json"),
        log=path,
        fingerprint=fingerprint(
            (path, mapped.mapping_path), f"{settings.kafka} {settings.source_topics}"
        ),
    )
    first = sent = position.start(resume=resume)
    kept = True
    if factor is not None:
        console.print(
            f"The log is sent {factor:g} times as fast as it was written; --speed max sends it at "
            "once.",
            highlight=False,
        )

    def note_sent(count: int) -> None:
        nonlocal sent, kept
        sent = first + count
        if sent < total:
            kept = position.keep(sent)

    async def run() -> None:
        if mapped.mapping.campaigns:
            await feeding.define(settings, mapped.mapping.campaigns)
        await feeding.send(
            settings,
            islice(records(mapped, settings.source_topics), first, None),
            speed=factor,
            console=console,
            total=total - first,
            on_sent=note_sent,
        )

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        if sent < total:
            return Sent(sent, total, position_kept=kept)
    except KafkaError as error:
        raise FeedError(
            f"{path}: stopped after {sent:,} of {total:,} events: {type(error).__name__}: {error}; "
            "once the broker answers, continue with --resume"
        ) from None
    position.remove()
    return Sent(sent, total)


def records(mapped: MappedFile, topics: tuple[str, str, str]) -> Iterator[FeedRecord]:
    """Yield the events of a file as records, in the order of their times.

    Args:
        mapped: the file, after it was read.
        topics: the names of the topics of clicks, orders and campaigns.
    """
    topic_of = dict(zip(SOURCE_KINDS, topics, strict=True))
    for event in mapped.sorter.events():
        yield FeedRecord(event.time_ms, topic_of[event.kind], event.key, event.value)
