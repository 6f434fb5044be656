"""``kpi-monitor topics``: list and create the topics of the monitor, and verify keys."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from streams import settings
from streams.assembly import topics as monitor_topics
from streams.commands.options import AppId, Kafka, out, say
from streams.operations import key_check
from streams.operations.key_check import KeyReport


def topics(
    kafka: Kafka = None,
    app_id: AppId = None,
    create: Annotated[bool, typer.Option("--create", help="Create missing topics.")] = False,
    verify_keys: Annotated[
        bool,
        typer.Option(
            "--verify-keys",
            help=f"Look at the newest {key_check.SAMPLED:,} records of each source partition: are "
            "they in the partition of their user?",
        ),
    ] = False,
) -> None:
    """List the topics that the monitor reads and writes, with their partitions.

    The exit code is 0 if all are as they should be; it is 1 if one is missing or has another
    number of partitions, or if --verify-keys finds records in another partition than that of
    their user, and 2 if no broker answers.
    """
    chosen = settings.load(kafka=kafka, app_id=app_id)
    if create:
        for spec in monitor_topics.ensure(chosen):
            say(out, f"created {spec.name}, {spec.partitions} partitions")
    table = Table("topic", "partitions", "should be", "state")
    wrong = False
    for spec, actual in monitor_topics.states(chosen):
        state = "ok" if actual == spec.partitions else "missing" if actual is None else "wrong"
        wrong = wrong or state != "ok"
        table.add_row(spec.name, str(actual or "-"), str(spec.partitions), state)
    out.print(table)
    if verify_keys:
        monitor_topics.require_sources(chosen)
        wrong = _verify(chosen) or wrong
    if wrong:
        raise typer.Exit(1)


def _verify(chosen: settings.Settings) -> bool:
    """Print what samples of the source topics show; return whether a record is misplaced."""
    samples = key_check.sample(chosen)
    reports = {
        topic: key_check.measure(sample, partitions=chosen.partitions)
        for topic, sample in samples.items()
    }
    table = Table("topic", "records", "of users", "other key", "other partition")
    for topic, report in reports.items():
        share = f" ({report.misplaced / report.owned:.1%})" if report.misplaced else ""
        counts = (report.records, report.owned, report.other_key)
        table.add_row(topic, *(f"{n:,}" for n in counts), f"{report.misplaced:,}{share}")
    out.print(table)
    for topic, report in reports.items():
        if report.first is not None:
            say(out, f"{topic}: {_advice(report)}")
    by_user = [samples[chosen.clicks_topic], samples[chosen.orders_topic]]
    found = key_check.disagreement(by_user)
    say(
        out,
        f"{found.apart:,} of {found.owners:,} users that are in {chosen.clicks_topic} and "
        f"{chosen.orders_topic} are in more than one partition number",
    )
    return found.apart > 0 or any(report.misplaced for report in reports.values())


def _advice(report: KeyReport) -> str:
    assert report.first is not None
    partition, offset = report.first
    first = f"the first one is in partition {partition} at offset {offset}"
    if report.fits is not None:
        return (
            f"partitions are those of {report.fits}; let the producer use murmur2 as in "
            f"docs/how-to/produce.md; {first}"
        )
    if report.other_key:
        return f"let the producer use user_id (in campaigns, campaign_id) as the key; {first}"
    return (
        "the keys are right and the partitions are not: the producer chooses partitions itself, or "
        f"the topic was given more partitions; {first}"
    )
