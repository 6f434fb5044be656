"""Defines the ingest stage for the engine: its topics, its jobs and its heartbeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.aggregates import ingest_report
from models.aggregates.ingest_report import Waiting
from models.events import SourceKind
from models.money.exchange_rates import Rates
from streams.engine.contracts import Output, Position, Saved, SourcePartition, Stage
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.ingest.ingest_settings import IngestSettings
from streams.ingest.job import IngestJob
from streams.ingest.registry.campaign_index import CampaignIndex

TABLE = "ingest"
RECORDS_AT_ONCE = 500
"""Records in one call of `apply`: about 2 ms of work if events share panes, 20 ms if none do."""


def stage(
    *,
    kinds: Mapping[str, SourceKind],
    partitions: int,
    rules: IngestSettings,
    campaigns: CampaignIndex,
    rates: Rates,
    customers: CustomerContext | None,
    checkpoint_interval_s: float,
) -> Stage:
    """Return the ingest stage.

    Args:
        kinds: ``clicks``, ``orders`` or ``campaigns`` by topic name.
        partitions: the number of partitions, the same for all source topics.
        rules: the settings of ingest.
        campaigns: all campaigns; shared by the jobs, which add to them.
        rates: the exchange rates; shared by the jobs.
        customers: access to the logs of customers. If None, orders count for the campaign and
            channel that they name, and nothing is attributed.
        checkpoint_interval_s: seconds between checkpoints.
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
        value = ingest_report.encode(beats, held_up, custom=rules.custom.sums)
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
