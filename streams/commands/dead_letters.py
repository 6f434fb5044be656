"""``kpi-monitor dead-letters``: list dead letters, or send them again."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.dead_letters import Reason
from streams import settings
from streams.commands.options import AppId, Kafka, out
from streams.operations import dead_letter_topic


def dead_letters(
    kafka: Kafka = None,
    app_id: AppId = None,
    reason: Annotated[
        Reason | None, typer.Option(help="Only dead letters with this reason.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Largest number of records to list.")] = 50,
    redrive: Annotated[
        bool,
        typer.Option("--redrive", help="Send the records that can count to their topics again."),
    ] = False,
) -> None:
    """List dead letters, the records that were not counted, with the reasons.

    With --redrive, records are sent to their topics again, unchanged. Those that would be refused
    again, such as events that are too late, are left out and counted; with --reason, all with
    that reason are sent. Send an event soon: after KPI_CORRECTION_HORIZON_S it is too late.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    found = dead_letter_topic.read(chosen.broker, topic=chosen.dead_letters_topic, reason=reason)
    table = Table("topic", "offset", "reason", "detail", "record", show_lines=False)
    for letter in found[:limit]:
        text = (letter.value or b"")[:80].decode("utf-8", "backslashreplace")
        where = f"{letter.topic}[{letter.partition}]"
        table.add_row(
            where, str(letter.offset), letter.reason.value, escape(letter.detail), escape(text)
        )
    out.print(table)
    out.print(f"{len(found)} dead letters" + (f", {limit} shown" if len(found) > limit else ""))
    if redrive:
        sendable, left = dead_letter_topic.that_can_count(found)
        if reason is not None:
            sendable, left = found, Counter()
        out.print(f"{dead_letter_topic.redrive(chosen.broker, sendable)} sent again")
        if left:
            reasons = ", ".join(f"{name.value} {count}" for name, count in left.most_common())
            out.print(
                f"{left.total()} left out, because they would be refused again: {reasons}; mend "
                "them at their source and send them anew, or give --reason to send them as they are"
            )
