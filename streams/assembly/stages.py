"""The two stages, made from the settings; the worker and the backtest run the same."""

from __future__ import annotations

from collections.abc import Callable

from models.events import SOURCE_KINDS
from streams.alerting.judge import AlertJudge
from streams.alerting.rules.registry import RuleBook
from streams.alerting.usual.local_clock import LocalClock
from streams.assembly.calendar import special_days_of
from streams.assembly.configuration import Configuration
from streams.assembly.ingest import ingest_rules
from streams.engine.contracts import Saved, SourcePartition, Stage
from streams.ingest import stage as ingest
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.kpis import stage as kpis
from streams.kpis.calculation.campaign_budgets import CampaignBudgets
from streams.kpis.calculation.kpi_calculator import KpiCalculator
from streams.kpis.coverage.coverage import Sources
from streams.kpis.job import KpiJob, Topics
from streams.kpis.output_records import values_encoder
from streams.kpis.storage.spilled_buckets import Spill
from streams.kpis.windows.campaign_timeline import CampaignTimeline
from streams.kpis.windows.definitions import Definitions
from streams.settings import Settings


def ingest_stage(
    settings: Settings, configured: Configuration, *, customers: CustomerContext | None
) -> Stage:
    """Return the stage that turns events into reports.

    Args:
        settings: the topics, their partitions and the times of ingest.
        configured: the campaigns, names, rates and custom measures.
        customers: access to the logs of customers; None attributes nothing.
    """
    return ingest.stage(
        kinds=dict(zip(settings.source_topics, SOURCE_KINDS, strict=True)),
        partitions=settings.partitions,
        rules=ingest_rules(settings, configured.names, custom=configured.book.custom),
        campaigns=configured.campaigns,
        rates=configured.rates,
        customers=customers,
        checkpoint_interval_s=settings.checkpoint_interval_s,
    )


def kpis_stage(
    settings: Settings,
    configured: Configuration,
    rules: RuleBook,
    *,
    new_spill: Callable[[], Spill | None],
    viewed: bool = True,
) -> Stage:
    """Return the stage that turns reports into closed windows, and has rules judge them.

    Args:
        settings: the topics, the sources and the times of the stage.
        configured: the KPIs, the campaigns and their changes, the rates.
        rules: the alert rules, with names as they are shown.
        new_spill: returns new storage for spilled buckets; None keeps them in memory.
        viewed: whether somebody looks at the view. If not, KPIs that no rule is about are not
            calculated, unless closed windows are published.
    """
    kinds = dict(zip(settings.source_topics, SOURCE_KINDS, strict=True))
    book, campaigns, day = configured.book, configured.campaigns, settings.business_day
    catalogue = book.catalogue
    if not (viewed or settings.publish_values):
        catalogue = catalogue.only({rule.kpi for rule in rules.rules})
    sources = Sources(
        expected=[(topic, number) for topic in kinds for number in range(settings.partitions)],
        kinds=kinds,
        silent_after_ms=round(settings.silent_after_s * 1000),
    )
    definitions = Definitions(
        calculator=KpiCalculator(catalogue, book.coefficients),
        day=day,
        timeline=CampaignTimeline(campaigns, configured.changes, day=day),
        budgets=CampaignBudgets(campaigns.get, rates=configured.rates, day=day),
        largest=book.largest.by_kind,
        summed=book.exported_kinds() | {rule.scope for rule in rules.rules},
        customer_days=settings.customer_days,
    )
    topics = Topics(
        source=SourcePartition(settings.reports_topic, 0),
        alerts=settings.alerts_topic,
        dead_letters=settings.dead_letters_topic,
        encode_values=values_encoder(settings.values_topic) if settings.publish_values else None,
    )

    special_days = special_days_of(settings)

    def new_job(saved: Saved | None) -> KpiJob:
        return KpiJob(
            sources=sources,
            definitions=definitions,
            judge=AlertJudge(
                rules,
                catalogue=catalogue,
                lag_limit_s=settings.lag_alert_s,
                campaign_of=campaigns.get,
                currency=settings.currency,
                clock=LocalClock(day, special_days.of),
                changes=configured.changes,
            ),
            topics=topics,
            spill=new_spill(),
            saved=saved,
            viewed=viewed,
        )

    return kpis.stage(
        reports_topic=settings.reports_topic,
        checkpoint_interval_s=settings.kpis_checkpoint_interval_s,
        new_job=new_job,
    )
