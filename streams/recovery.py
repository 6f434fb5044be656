"""Counts the customers in Redis, and rebuilds them from Kafka after Redis lost its data."""

from __future__ import annotations

from collections.abc import Callable

from models.campaigns.campaign_change import Changes
from models.events import SourceKind
from models.money.exchange_rates import Rates
from streams import config
from streams.assembly import ingest as assembly
from streams.engine.contracts import SourcePartition
from streams.errors import CustomersError
from streams.ingest import stage as ingest
from streams.ingest.customers.redis_store import CustomerStore
from streams.ingest.job import IngestJob
from streams.ingest.rebuild import Rebuilt, rebuild
from streams.ingest.registry.campaign_index import CampaignIndex
from streams.ingest.registry.reader import RegistryReader
from streams.settings import Settings


async def count_customers(settings: Settings) -> int:
    """Return how many customers Redis keeps.

    Raises:
        CustomersError: no customers are kept.
        CustomersAwayError: Redis does not answer.
    """
    store = _store(settings)
    try:
        return await store.count()
    finally:
        await store.close()


async def rebuild_customers(settings: Settings, *, progress: Callable[[int, int], None]) -> Rebuilt:
    """Rebuild the customers from Kafka.

    Args:
        settings: the settings of the workers.
        progress: called with the number of records that are read, and of all records.

    Raises:
        CustomersError: no customers are kept.
        StateError: the workers' state can't be read.
        CustomersAwayError: Redis does not answer, or another rebuild began.
    """
    customers = assembly.customer_context(settings)
    rates = Rates(settings.currency, config.load_rates(settings.rates_file).rates)
    names = config.load_names(settings.names_file)
    defined = config.load_campaigns(settings.campaigns_file)
    campaigns = CampaignIndex(defined.campaigns, as_shown=names.as_shown)
    rules = assembly.ingest_rules(settings, names)
    store = _store(settings)
    registry = RegistryReader(
        campaigns, Changes(), rates, broker=settings.broker, topic=settings.registry_topic
    )
    kinds: dict[str, SourceKind] = {
        settings.clicks_topic: "clicks",
        settings.orders_topic: "orders",
    }

    def open_job(source: SourcePartition) -> IngestJob:
        return IngestJob(
            source,
            kind=kinds[source.topic],
            rules=rules,
            campaigns=campaigns,
            rates=rates,
            customers=customers,
            epoch=0,
        )

    try:
        await registry.read_once()
        return await rebuild(
            store,
            broker=settings.broker,
            changelog=settings.changelog_topic(ingest.TABLE),
            kinds=kinds,
            partitions=settings.partitions,
            horizon_ms=rules.correction_horizon_ms + rules.allowed_disorder_ms,
            open_job=open_job,
            progress=progress,
        )
    finally:
        await store.close()


def _store(settings: Settings) -> CustomerStore:
    store = assembly.customer_store(settings)
    if store is None:
        raise CustomersError("no customers are kept: KPI_REDIS is not set, or KPI_CUSTOMERS is off")
    return store
