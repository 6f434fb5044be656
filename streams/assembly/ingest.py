"""Makes the rules and the store of customers of ingest jobs from the settings."""

from __future__ import annotations

from models.kpi.measures import NO_CUSTOM, CustomNames
from models.names import NameBook
from models.window import DAY_MS
from streams.ingest.customers.attribution import AttributionRules
from streams.ingest.customers.pending_checkpoint import CustomerContext
from streams.ingest.customers.redis_store import CustomerStore
from streams.ingest.customers.settlement_progress import SettlementProgress
from streams.ingest.ingest_settings import IngestSettings
from streams.settings import Settings


def customer_store(settings: Settings) -> CustomerStore | None:
    """Return the store of customers; None without Redis, or if ``KPI_CUSTOMERS`` is off.

    Raises:
        ConfigError: a certificate or password file of Redis can't be read.
    """
    server = settings.redis_server
    if server is None or not settings.customers:
        return None
    return CustomerStore(
        server,
        app_id=settings.app_id,
        lookback_ms=round(settings.attribution_lookback_days * DAY_MS),
        kept_s=settings.customers_kept_days * 86_400,
        partitions=settings.partitions,
    )


def customer_context(settings: Settings) -> CustomerContext | None:
    """Return what ingest jobs need for customers; None without a store of customers.

    Raises:
        ConfigError: a certificate or password file of Redis can't be read.
    """
    store = customer_store(settings)
    if store is None:
        return None
    return CustomerContext(
        customers=store,
        progress=SettlementProgress(
            horizon_ms=round((settings.correction_horizon_s + settings.allowed_disorder_s) * 1000)
        ),
        rules=AttributionRules(
            lookback_ms=round(settings.attribution_lookback_days * DAY_MS),
            model=settings.attribution_model,
        ),
    )


def ingest_rules(
    settings: Settings, names: NameBook, *, custom: CustomNames = NO_CUSTOM
) -> IngestSettings:
    """Return the settings of ingest, with times in ms.

    Args:
        settings: the settings of the worker.
        names: the defined channels, regions and segments.
        custom: the custom measures that the file of KPIs declares.
    """
    return IngestSettings(
        day=settings.business_day,
        allowed_disorder_ms=round(settings.allowed_disorder_s * 1000),
        correction_horizon_ms=round(settings.correction_horizon_s * 1000),
        dedupe_horizon_ms=round(settings.dedupe_horizon_s * 1000),
        future_tolerance_ms=round(settings.future_tolerance_s * 1000),
        idle_after_ms=round(settings.idle_after_s * 1000),
        largest_record_bytes=settings.largest_record_bytes,
        reports_topic=settings.reports_topic,
        registry_topic=settings.registry_topic,
        dead_letters_topic=settings.dead_letters_topic,
        names=names,
        guests=settings.guests,
        custom=custom,
    )
