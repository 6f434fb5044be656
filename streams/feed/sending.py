"""Feeds files: reads all of them, and sends their events in the order of their times."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import Progress, TaskID

from models.events import KIND_OF_TYPE, SOURCE_KINDS, SourceKind
from streams.errors import ConfigError, FeedError
from streams.feed.events.event_sorter import MEMORY_BYTES
from streams.feed.events.file_set import FileSet
from streams.feed.events.late_events import late_events, newest_times
from streams.feed.events.mapped_file import MappedFile
from streams.feed.position import Position, fingerprint
from streams.feed.rows.row_mapper import MappedEvent
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
        finished: whether all events were sent, and the end of history was said.
    """

    sent: int
    total: int
    position_kept: bool = True
    finished: bool = False


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
    ends: Mapping[SourceKind, int],
    console: Console,
) -> Sent:
    """Send the events of files that were read, merged by time.

    After the last event, the feed says in each partition of the topics that the files have events
    of up to when it is complete. Ctrl-C stops the sending: the result is then not finished, and the
    position is kept in a file beside the one that stands for them.

    Args:
        settings: the broker and the topics.
        files: the files.
        speed: as `feeding.parse_speed` reads it.
        resume: whether to continue where an earlier feed of the files stopped.
        late: whether to send events that the monitor would refuse as too late.
        ends: the event time in ms up to which each kind of topic is complete, as `ends_of` returns
            it; empty to say nothing.
        console: shows the progress.

    Raises:
        FeedError: the speed is not valid, the position does not fit ``resume``, events are too
            late, or the broker stopped answering; the message says after how many events.
    """
    factor = feeding.parse_speed(speed)
    path, total = files.path, len(files)
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
        topics = _topics_by_kind(settings.source_topics)
        await feeding.complete(settings, {topics[kind]: end for kind, end in ends.items()})

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return Sent(sent, total, position_kept=kept)
    except KafkaError as error:
        raise FeedError(
            f"{path}: stopped after {sent:,} of {total:,} events: {type(error).__name__}: {error}; "
            "once the broker answers, continue with --resume"
        ) from None
    position.remove()
    return Sent(sent, total, finished=True)


def _topics_by_kind(names: tuple[str, str, str]) -> dict[SourceKind, str]:
    return dict(zip(SOURCE_KINDS, names, strict=True))


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


def records(events: Iterable[MappedEvent], topics: tuple[str, str, str]) -> Iterator[FeedRecord]:
    """Yield events as records.

    Args:
        events: in the order to send them.
        topics: the names of the topics of clicks, orders and campaigns.
    """
    by_kind = _topics_by_kind(topics)
    topic_of = {name: by_kind[kind] for name, kind in KIND_OF_TYPE.items()}
    for event in events:
        yield FeedRecord(event.time_ms, topic_of[event.type], event.key, event.value)
