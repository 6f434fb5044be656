"""``kpi-monitor reset``: remove the state, to start over."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams import reset as resets
from streams import settings
from streams.commands.options import AppId, Kafka, err, out, say
from streams.engine.group_members import Member


def reset(
    kafka: Kafka = None,
    app_id: AppId = None,
    sources: Annotated[
        bool,
        typer.Option("--sources", help="Remove all events of the source topics, too."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove all state of the monitor, so that the next worker starts as the first one did.

    The monitor's own topics are removed and created again, empty: state, reports, the registry of
    campaigns and rates, dead letters, alerts and values. The local state of KPI_DATA_DIR and the
    customers in Redis are removed. Source topics stay as they are, and the next worker reads them
    from KPI_START_FROM on; with --sources all their events are removed. Everything is listed
    before, and nothing is removed without a yes. Stop all workers first. The exit code is 0 if it
    is done, 1 if the answer was no, and 2 if a worker runs or something can't be removed.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    resets.refuse_running(chosen, waiting=_say_waiting)
    found = resets.plan(chosen, sources=sources)
    _show(chosen, found, sources=sources)
    if not yes and not _agreed():
        say(out, "nothing was removed")
        raise typer.Exit(1)
    resets.refuse_running(chosen, waiting=_say_waiting)
    resets.carry_out(chosen, found)
    say(
        out,
        f"done; the next worker starts from {chosen.start_from} (KPI_START_FROM), unless its "
        "project has start_from",
    )


def _say_waiting(running: list[Member]) -> None:
    named = ", ".join(map(str, running))
    say(err, f"waiting, in case these workers have ended and the broker still has them: {named}")


def _show(chosen: settings.Settings, found: resets.Plan, *, sources: bool) -> None:
    say(out, f"This removes, for the app id {chosen.app_id}, in Kafka at {chosen.kafka}:")
    say(out, f"  consumer group {chosen.app_id}")
    for name in found.removed:
        say(out, f"  topic {name}, which is created again")
    for name in found.emptied:
        say(out, f"  all events of topic {name}")
    for path in found.files:
        say(out, f"  {path.absolute()}")
    if not found.files:
        say(out, f"  nothing in {chosen.data_dir.absolute()} (KPI_DATA_DIR), which has no state")
    if found.keys is None or chosen.redis_server is None:
        say(out, "  nothing in Redis, which is not configured here (KPI_REDIS)")
    else:
        address = chosen.redis_server.address
        say(out, f"  {found.keys} keys of {chosen.app_id} in Redis at {address}")
    if not sources:
        say(out, f"Topics that stay: {', '.join(chosen.source_topics)} (see --sources).")
    say(
        out,
        "If workers ran on other machines, empty their KPI_DATA_DIR before they start again.",
    )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        say(err, "nobody can be asked here; --yes agrees")
        return False
    return typer.confirm("Remove all of this?")
