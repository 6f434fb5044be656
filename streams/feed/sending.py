"""Feeds files: reads all of them, and sends their events in the order of their times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import Progress, TaskID

from models.events import SOURCE_KINDS
from streams.errors import ConfigError, FeedError
from streams.feed.events.event_sorter import MEMORY_BYTES
from streams.feed.events.file_set import FileSet, NamedEvent
from streams.feed.events.late_events import late_events, newest_times
from streams.feed.events.mapped_file import MappedFile
from streams.feed.history_end import complete_through
from streams.feed.position import Position, fingerprint
from streams.operations import feeding
from streams.operations.progress import progress
from streams.operations.synthetic import FeedRecord
from streams.settings import Settings


class Sent(NamedTuple):
    """The progress of sending, whole or in part.

    Args:
        sent: the number of events that were sent, those of an earlier feed included.
        total: the number of all events.
        position_kept: whether ``--resume`` can continue, if it was stopped.
        through_ms: the event time in ms up to which the topics were said to be complete; None if
            that was not said.
    """

    sent: int
    total: int
    position_kept: bool = True
    through_ms: int | None = None


class Input(NamedTuple):
    """A file to feed.

    Args:
        path: the file.
        mapping_path: its mapping file.
        refused: the file of refused rows; None for one beside the input.
    """

    path: Path
    mapping_path: Path
    refused: Path | None = None


def read(settings: Settings, inputs: Sequence[Input], *, console: Console) -> list[MappedFile]:
    """Read all rows of files through their mappings; nothing is sent.

    Args:
        settings: the largest size of a record, and the key of hashed fields.
        inputs: the files; they share the memory in which events are kept.
        console: shows the progress.

    Raises:
        FeedError: a file does not fit its mapping, a mapping is not valid, or the key of hashed
            fields is missing; it names the faults of all files.
    """
    files: list[MappedFile] = []
    faults: list[str] = []
    with progress(console) as shown:
        for path, mapping_path, refused in inputs:
            task = shown.add_task(f"reading {path.name}", total=None, unit="rows")
            try:
                if refused is not None and refused.exists() and refused.samefile(path):
                    raise FeedError(  # noqa: TRY301 - reported with the faults of other files
                        f"{refused}: is the file that is fed; name another one with --refused"
                    )
                mapped = MappedFile(
                    path,
                    mapping_path,
                    largest_bytes=settings.largest_record_bytes,
                    refused_path=refused or path.with_name(f"{path.name}.refused.ndjson"),
                    hash_key=lambda: settings.hash_secret,
                    memory_bytes=MEMORY_BYTES // len(inputs),
                )
                mapped.read(partial(_show_rows, shown, task))
            except (ConfigError, FeedError) as error:
                faults += [line for line in str(error).split("\n") if line not in faults]
            else:
                files.append(mapped)
    if faults:
        raise FeedError("\n".join(faults))
    return files


def _show_rows(shown: Progress, task: TaskID, rows: int) -> None:
    shown.update(task, completed=rows)


def send(
    settings: Settings,
    files: FileSet,
    *,
    speed: str,
    resume: bool,
    late: bool,
    through: str | None = None,
    console: Console,
) -> Sent:
    """Send the events of files that were read, merged by time.

    Ctrl-C stops the sending: the result then has fewer events than the files, and the position is
    kept in a file beside the one that stands for them.

    Args:
        settings: the broker and the topics.
        files: the files.
        speed: as `feeding.parse_speed` reads it.
        resume: whether to continue where an earlier feed of the files stopped.
        late: whether to send events that the monitor would refuse as too late.
        through: up to when the files are complete, as `complete_through` reads it.
        console: shows the progress.

    Raises:
        FeedError: the speed or ``through`` is not valid, the position does not fit ``resume``,
            events are too late, or the broker stopped answering; the message says after how many
            events.
    """
    factor = feeding.parse_speed(speed)
    path, total = files.path, len(files)
    through_ms = _through_ms(settings, files, through)
    position = Position(
        path.with_name(f"{path.name}.position.json"),
        log=path,
        fingerprint=fingerprint(files.inputs, f"{settings.kafka} {settings.source_topics}"),
    )
    first = sent = position.start(resume=resume)

    def remaining() -> Iterator[FeedRecord]:
        return islice(records(files.events(), settings.source_topics), first, None)

    if not late:
        _refuse_late(settings, remaining(), total=total - first)
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
        if files.campaigns:
            await feeding.define(settings, files.campaigns)
        await feeding.send(
            settings,
            remaining(),
            speed=factor,
            console=console,
            total=total - first,
            on_sent=note_sent,
        )
        if through_ms is not None:
            topics = dict(zip(SOURCE_KINDS, settings.source_topics, strict=True))
            await feeding.complete(
                settings, [topics[kind] for kind in files.kinds], through_ms=through_ms
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
    return Sent(sent, total, through_ms=through_ms)


def _through_ms(settings: Settings, files: FileSet, through: str | None) -> int | None:
    if files.newest_ms is None:
        return None
    return complete_through(
        files.newest_ms, given=through, day=settings.business_day, now_ms=int(time.time() * 1000)
    )


def _refuse_late(settings: Settings, waiting: Iterable[FeedRecord], *, total: int) -> None:
    accepted_s = settings.correction_horizon_s + settings.allowed_disorder_s
    found = late_events(
        waiting,
        newest_times(settings),
        partitions=settings.partitions,
        accepted_ms=round(accepted_s * 1000),
    )
    if found.events:
        raise found.error(total, accepted_s=accepted_s)


def records(events: Iterable[NamedEvent], topics: tuple[str, str, str]) -> Iterator[FeedRecord]:
    """Yield events as records.

    Args:
        events: in the order to send them.
        topics: the names of the topics of clicks, orders and campaigns.
    """
    topic_of = dict(zip(SOURCE_KINDS, topics, strict=True))
    for _, event in events:
        yield FeedRecord(event.time_ms, topic_of[event.kind], event.key, event.value)
