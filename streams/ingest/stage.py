"""Ingest as the engine runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Waiting
from models.money.exchange_rates import Rates
from streams.engine.contracts import Output, Position, Saved, SourcePartition, Stage
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.job import IngestJob
from streams.ingest.registry.campaign_index import CampaignIndex

TABLE = "ingest"
RECORDS_AT_ONCE = 500
"""About 2 ms where panes are shared by many events, 20 ms where every event has its own."""


def stage(
    *,
    kinds: Mapping[str, str],
    partitions: int,
    rules: IngestSettings,
    campaigns: CampaignIndex,
    rates: Rates,
    customers: CustomerContext | None,
    checkpoint_interval_s: float,
) -> Stage:
    """Return the stage.

    Args:
        kinds: ``clicks``, ``orders`` or ``campaigns`` by topic name.
        partitions: the number that all source topics have.
        rules: what ingest needs to know of the settings.
        campaigns: all campaigns; shared by the jobs, and added to by them.
        rates: what other currencies are worth; shared by the jobs.
        customers: how customers are asked; None counts orders where they say they belong.
        checkpoint_interval_s: how often state and reports are written.
    """

    def open_job(source: SourcePartition, *, epoch: int, saved: Saved | None) -> IngestJob:
        return IngestJob(
            source,
            kind=kinds[source.topic],
            rules=rules,
            campaigns=campaigns,
            rates=rates,
            customers=customers,
            epoch=epoch,
            saved=saved,
        )

    def heartbeat(
        quiet: Sequence[tuple[SourcePartition, IngestJob, Position]],
        waiting: Mapping[SourcePartition, str],
        *,
        now_ms: int,
    ) -> Sequence[Output]:
        del now_ms
        beats = [job.report() for _, job, _ in quiet]
        held_up = [Waiting(*source, why) for source, why in waiting.items()]
        value = ingest_report.encode(beats, held_up)
        return [Output(topic=rules.reports_topic, value=value, partition=0)]

    return Stage(
        name=TABLE,
        topics=tuple(kinds),
        partitions=partitions,
        checkpoint_interval_s=checkpoint_interval_s,
        open_job=open_job,
        records_at_once=RECORDS_AT_ONCE,
        heartbeat=heartbeat,
    )
