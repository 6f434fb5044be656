"""Settings: from the command line, the environment (``KPI_…``) or a ``.env`` file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from models.alerts import Link
from models.customers.journal_entry import DefaultModel
from models.patterns import nearest
from models.window import BusinessDay
from streams.broker import Broker, Mechanism, Security
from streams.errors import ConfigError, in_words
from streams.redis_server import RedisServer

SHORTEST_HASH_KEY = 16
"""Characters; shorter keys can be guessed."""


def known_zone(name: str) -> str:
    """Return the name of a time zone.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"no time zone named {name!r}; use an IANA name like Asia/Shanghai"
        ) from error
    return name


def _whole_quarter(start: str) -> str:
    try:
        parsed = time.fromisoformat(start)
    except ValueError as error:
        raise ValueError("use a local time like 04:00") from error
    if parsed.tzinfo is not None or parsed.minute % 15 or parsed.second or parsed.microsecond:
        raise ValueError("use a local time of a whole quarter of an hour, like 04:00")
    return start


def known_start(start: str) -> str:
    """Return where a worker without state starts.

    Raises:
        ValueError: it is neither a known word nor a time with its offset.
    """
    if start in {"earliest", "latest", "business-day"}:
        return start
    try:
        parsed = datetime.fromisoformat(start)
    except ValueError as error:
        raise ValueError("use earliest, latest, business-day or an RFC 3339 time") from error
    if parsed.tzinfo is None:
        raise ValueError("a start time needs its offset from UTC, like 2026-06-18T00:00:00+08:00")
    return start


class Settings(BaseSettings):
    """All settings. The names of durations end with their unit."""

    model_config = SettingsConfigDict(
        env_prefix="KPI_", env_file=".env", extra="ignore", frozen=True
    )

    app_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "kpi-monitor"
    """Kafka consumer group, and prefix of the topics that the monitor writes."""
    instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = "w0"
    """Name of this worker (Kafka group.instance.id); keep it over restarts."""
    kafka: str = "127.0.0.1:9092"
    """Kafka bootstrap address, host:port."""
    kafka_security: Security = "plaintext"
    """Security protocol of Kafka: plaintext, ssl, sasl_plaintext or sasl_ssl."""
    kafka_sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    """SASL mechanism: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN."""
    kafka_username: str = ""
    """SASL user name."""
    kafka_password: SecretStr = SecretStr("")
    """SASL password; ``kafka_password_file`` takes precedence."""
    kafka_password_file: Path | None = None
    """File that holds the SASL password."""
    kafka_ca_file: Path | None = None
    """PEM file of the CA certificates that Kafka is checked against; the system's, if left out."""
    kafka_cert_file: Path | None = None
    """PEM file of the client certificate for Kafka, for mutual TLS."""
    kafka_key_file: Path | None = None
    """PEM file of the private key of ``kafka_cert_file``."""
    redis: SecretStr | None = None
    """URL of Redis or Valkey, which stores the customers and the shared live view; none, if left
    out."""
    redis_password_file: Path | None = None
    """File that holds the password of Redis; the user name is a part of the URL."""
    redis_ca_file: Path | None = None
    """PEM file of the CA certificates that Redis is checked against; the system's, if left out."""
    redis_cert_file: Path | None = None
    """PEM file of the client certificate for Redis, for mutual TLS."""
    redis_key_file: Path | None = None
    """PEM file of the private key of ``redis_cert_file``."""
    customers: bool = True
    """Whether customers are stored in Redis, for attribution, first orders and lifetime value."""
    customer_days: Annotated[int, Field(ge=1, le=180)] = 60
    """Business days from which customers and open leads are counted, for retention and growth."""
    customers_kept_days: Annotated[int, Field(ge=1, le=3650)] = 730
    """Days without an event after which a customer is removed from Redis."""
    attribution_lookback_days: Annotated[float, Field(gt=0, le=90)] = 7.0
    """Attribution window: days before an order in which a click counts as a touch."""
    attribution_model: DefaultModel = "last"
    """Attribution model of orders that name no campaign: last, first, linear or declared."""
    data_dir: Path = Path("./data")
    """Folder of the local table store."""
    hash_key: SecretStr = SecretStr("")
    """Key of the fields that a mapping of ``kpi-monitor feed`` hashes, at least 16 characters;
    ``hash_key_file`` takes precedence. With another key, the same customer is another one.
    """
    hash_key_file: Path | None = None
    """File that holds the key of hashed fields."""

    clicks_topic: str = "clicks"
    """Topic of impressions, clicks and visits, keyed by user."""
    orders_topic: str = "orders"
    """Topic of orders, refunds, registrations, leads and surveys, keyed by user."""
    campaigns_topic: str = "campaigns"
    """Topic of campaign definitions, changes, spend and measurements, keyed by campaign."""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of partitions of each source topic; topics with another number are refused."""
    replication_factor: Annotated[int, Field(ge=1, le=7)] = 1
    """Replication factor of topics that the monitor creates; 3 in production."""
    start_from: Annotated[str, AfterValidator(known_start)] = "business-day"
    """Start without saved state: earliest, latest, business-day or an RFC 3339 time."""

    time_zone: Annotated[str, AfterValidator(known_zone)] = "Asia/Shanghai"
    """IANA time zone of the business day."""
    business_day_start: Annotated[str, AfterValidator(_whole_quarter)] = "00:00"
    """Local time at which a business day starts, HH:MM in whole quarters of an hour."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"
    """Reporting currency, ISO 4217; other currencies are converted at the event day's rate."""

    allowed_disorder_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds behind the newest event of its partition up to which an event is not late."""
    correction_horizon_s: Annotated[float, Field(ge=0, le=900)] = 600.0
    """Seconds behind the watermark up to which a late event is counted; then a dead letter."""
    dedupe_horizon_s: Annotated[float, Field(ge=60, le=7200)] = 720.0
    """Seconds of event time in which a repeated event id is detected and not counted."""
    future_tolerance_s: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """Seconds ahead of the broker's clock above which an event is a dead letter."""
    idle_after_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """Seconds without records after which a partition read to its end does not delay windows."""
    silent_after_s: Annotated[float, Field(ge=5, le=3600)] = 20.0
    """Shortest silence of a source, in seconds, for which the alert ``data-silent`` fires."""
    largest_record_bytes: Annotated[int, Field(ge=1000)] = 900_000
    """Size in bytes above which a source record is a dead letter."""

    checkpoint_interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """Seconds between two checkpoints of ingest, which also send its reports."""
    kpis_checkpoint_interval_s: Annotated[float, Field(ge=0.05, le=300)] = 2.0
    """Seconds between two checkpoints of the KPI stage."""
    poll_records: Annotated[int, Field(ge=1, le=100_000)] = 5000
    """Largest number of records of a partition that are processed at once."""
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 10.0
    """Seconds without a heartbeat after which a worker is replaced (Kafka session.timeout.ms)."""
    watchdog_s: Annotated[float, Field(ge=5, le=3600)] = 90.0
    """Seconds without progress, while records wait, after which a worker ends itself."""

    campaigns_file: Path | None = None
    """YAML file of campaigns."""
    names_file: Path | None = None
    """YAML file of the names of channels, regions and segments, with their aliases."""
    calendar_file: Path | None = None
    """YAML file of the calendar: country, shopping festivals and own special days; without it no
    day is special."""
    guest_ids: str = (
        "0,-1,-,guest,anonymous,unknown,undefined,null,none,NaN,"
        "00000000-0000-0000-0000-000000000000"
    )
    """Values of ``user_id`` that stand for no user, in any case, separated by commas; so do null
    and empty text."""
    rules_file: Path | None = None
    """YAML file of alert rules."""
    kpis_file: Path | None = None
    """YAML file of own measurements and KPIs, of the series to export, and of the number of largest
    names.
    """
    scorecards_file: Path | None = None
    """YAML file of scorecards."""
    rates_file: Path | None = None
    """YAML file of exchange rates; others come from the registry topic."""
    publish_values: bool = False
    """Whether every closed window is written to the topic of KPI values."""

    web_host: str = "127.0.0.1"
    """Address that the web server listens on."""
    web_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the web server: /metrics and the live page; 0 picks a free one."""
    web_ready_file: Path | None = None
    """File to which the URL is written once the web server listens."""
    largest_series_count: Annotated[int, Field(ge=100)] = 50_000
    """Largest number of exported series of KPIs, scorecards, effects and the like in all."""
    alertmanager: Link | None = None
    """URL of Alertmanager, e.g. http://127.0.0.1:9093; alerts are not sent, if left out."""
    public_url: Link | None = None
    """URL of the live page as people reach it, for links in alerts; the worker's own, if left
    out."""
    boards_url: Link | None = None
    """URL of Grafana as people reach it, for links on the page and in alerts; no links, if left
    out."""
    runbooks_url: Link | None = None
    """URL of docs/runbooks/kpi-monitor.md as people reach it, for links of data-health alerts; no
    links, if left out."""
    grafana: Link = "http://127.0.0.1:3000"
    """URL of Grafana, for ``kpi-monitor boards``."""
    grafana_token: SecretStr = SecretStr("")
    """Token of a service account of Grafana that may edit dashboards and folders."""
    grafana_token_file: Path | None = None
    """File that holds the token of Grafana."""
    lag_alert_s: Annotated[float, Field(ge=1)] = 30.0
    """Lag in seconds above which the alert ``data-lagging`` fires."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Log level: debug, info, warning or error."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Take an empty value as if it were left out, except where it means that there is none.

        A file is kept, and refused: without its rules or its certificates the monitor would run as
        if nothing was amiss.
        """
        kept = "guest_ids"
        return {
            key: value
            for key, value in given.items()
            if value != "" or key == kept or key.endswith("_file")
        }

    @field_validator("*", mode="before")
    @classmethod
    def _is_not_empty(cls, value: object, info: ValidationInfo) -> object:
        """Refuse an empty name of a file, as ``KPI_RULES_FILE=`` gives it."""
        if str(info.field_name).endswith("_file") and value in {"", Path()}:
            raise ValueError("is empty; give a path, or leave it out")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        faults = [*self._faults_of_kafka(), *self._faults_of_redis(), *self._faults_of_horizons()]
        if faults:
            raise PydanticCustomError("settings", "do not fit together", {"faults": faults})
        return self

    def _faults_of_kafka(self) -> Iterator[tuple[str, str]]:
        """Yield settings of Kafka that do not fit together, each with the reason."""
        if self.kafka_security.startswith("sasl") and not (
            self.kafka_username
            and (self.kafka_password.get_secret_value() or self.kafka_password_file)
        ):
            yield (
                "kafka_security",
                f"{self.kafka_security} needs kafka_username, and kafka_password or "
                "kafka_password_file",
            )
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            yield "kafka_cert_file", "kafka_cert_file and kafka_key_file go together"

    def _faults_of_redis(self) -> Iterator[tuple[str, str]]:
        """Yield settings of Redis that do not fit together, each with the reason."""
        if (self.redis_cert_file is None) != (self.redis_key_file is None):
            yield "redis_cert_file", "redis_cert_file and redis_key_file go together"
        if self.redis is None:
            return
        url = self.redis.get_secret_value()
        if not url.startswith(("redis://", "rediss://", "unix://")) or not _is_readable(url):
            yield (
                "redis",
                "must begin with redis://, unix://, or rediss:// for TLS, and have a host and port "
                "like 127.0.0.1:6379; write /, : and @ in a password as %2F, %3A and %40, or use "
                "redis_password_file",
            )
        if self.redis_ca_file is not None and url.startswith("redis://"):
            yield "redis_ca_file", "is for TLS: let redis begin with rediss://"

    def _faults_of_horizons(self) -> Iterator[tuple[str, str]]:
        """Yield durations that do not fit together, each with the reason."""
        if self.customers_kept_days < self.attribution_lookback_days:
            yield (
                "customers_kept_days",
                "must be at least attribution_lookback_days: an order looks back at clicks that "
                "must still be known",
            )
        if self.dedupe_horizon_s < self.correction_horizon_s + self.allowed_disorder_s:
            yield (
                "dedupe_horizon_s",
                "must be at least correction_horizon_s + allowed_disorder_s: what may still be "
                "counted must still be known",
            )

    @property
    def broker(self) -> Broker:
        """The connection to Kafka.

        Raises:
            ConfigError: the file of the password can't be read.
        """
        return Broker(
            servers=self.kafka,
            security=self.kafka_security,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=_secret(
                self.kafka_password, self.kafka_password_file, key="kafka_password_file"
            ),
            ca_file=self.kafka_ca_file,
            cert_file=self.kafka_cert_file,
            key_file=self.kafka_key_file,
        )

    @property
    def redis_server(self) -> RedisServer | None:
        """The connection to Redis; None if none is configured.

        Raises:
            ConfigError: a file can't be read.
        """
        if self.redis is None:
            return None
        for key in ("redis_ca_file", "redis_cert_file", "redis_key_file"):
            file: Path | None = getattr(self, key)
            if file is not None and not os.access(file, os.R_OK):
                raise ConfigError(source="settings", where=key, why=f"{file} can't be read")
        return RedisServer(
            url=self.redis.get_secret_value(),
            password=_secret(SecretStr(""), self.redis_password_file, key="redis_password_file"),
            ca_file=self.redis_ca_file,
            cert_file=self.redis_cert_file,
            key_file=self.redis_key_file,
        )

    @property
    def grafana_secret(self) -> str:
        """The token of Grafana.

        Raises:
            ConfigError: the file can't be read, or no token is configured.
        """
        token = _secret(self.grafana_token, self.grafana_token_file, key="grafana_token_file")
        if not token:
            raise ConfigError(
                source="environment",
                where="KPI_GRAFANA_TOKEN",
                why="is not set; create a service account with the role Editor in Grafana, and "
                "set its token here or in KPI_GRAFANA_TOKEN_FILE",
            )
        return token

    @property
    def hash_secret(self) -> bytes:
        """The key of hashed fields.

        Raises:
            ConfigError: the file can't be read, or the key is missing or short.
        """
        key = _secret(self.hash_key, self.hash_key_file, key="hash_key_file")
        if len(key) < SHORTEST_HASH_KEY:
            raise ConfigError(
                source="environment",
                where="KPI_HASH_KEY",
                why=("has fewer than 16 characters" if key else "is not set")
                + ", and the mapping hashes a field; make a key with openssl rand -hex 32, keep "
                "it, and set it here or in KPI_HASH_KEY_FILE",
            )
        return key.encode()

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the business day."""
        return ZoneInfo(self.time_zone)

    @property
    def business_day(self) -> BusinessDay:
        """The calendar of business days."""
        return BusinessDay(self.zone, starts_at=time.fromisoformat(self.business_day_start))

    @property
    def guests(self) -> frozenset[str | None]:
        """Values of ``user_id`` that stand for no user: `guest_ids` as they are usually written."""
        given = [text.strip() for text in self.guest_ids.split(",")]
        spelt = {form for text in given for form in _cases(text)}
        return frozenset({*spelt, None, ""})

    @property
    def source_topics(self) -> tuple[str, str, str]:
        """The topics of clicks, orders and campaigns."""
        return self.clicks_topic, self.orders_topic, self.campaigns_topic

    @property
    def reports_topic(self) -> str:
        """Topic of ingest's reports to the KPI stage; one partition."""
        return f"{self.app_id}-partials"

    @property
    def registry_topic(self) -> str:
        """Topic of definitions, which every worker reads whole; compacted, one partition."""
        return f"{self.app_id}-registry"

    @property
    def dead_letters_topic(self) -> str:
        """Topic of records that were not counted."""
        return f"{self.app_id}-dead-letters"

    @property
    def alerts_topic(self) -> str:
        """Topic of all changes of an alert's state."""
        return f"{self.app_id}-alerts"

    @property
    def values_topic(self) -> str:
        """Topic of closed windows, written if ``publish_values`` is on."""
        return f"{self.app_id}-values"

    def changelog_topic(self, table: str) -> str:
        """Return the name of Faust's changelog topic of a table."""
        return f"{self.app_id}-{table}-changelog"


def _is_readable(url: str) -> bool:
    """Return whether a URL can be read; its port may be left out."""
    try:
        parts = urlsplit(url)
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _cases(text: str) -> set[str]:
    return {text, text.lower(), text.upper(), text.capitalize()}


def _secret(value: SecretStr, file: Path | None, *, key: str) -> str:
    if file is None:
        return value.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(source="settings", where=key, why=f"{file} can't be read") from None


def load(**overrides: Any) -> Settings:
    """Read the settings; arguments that are not None take precedence over the environment.

    Raises:
        ConfigError: values are not valid; it names the variable of each, and where it is set.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        (where, why), *others = [
            (f"{key} (command line)" if key in given else _origin(key), why)
            for one in error.errors(include_url=False, include_input=False)
            for key, why in _keys_of(one)
        ]
        raise ConfigError(source="settings", where=where, why=why, others=others) from None


OTHER_VARIABLES = frozenset({"KPI_CACHE_DIR"})
"""Variables that are no settings of a worker: the folder of the embedded Kafka's download."""


def unknown_variables() -> list[str]:
    """Return a message for each variable ``KPI_…`` that is no setting."""
    known = [f"KPI_{name.upper()}" for name in Settings.model_fields]
    return [
        f"{name} ({place}) is no setting{nearest(name, known)}"
        for place, names in (("environment", _environment()), (".env", _env_file()))
        for name in sorted(names)
        if name.startswith("KPI_") and name not in {*known, *OTHER_VARIABLES}
    ]


def _keys_of(error: ErrorDetails) -> Iterator[tuple[str, str]]:
    """Yield the keys that an error is about, each with the reason."""
    if error["type"] == "settings":
        yield from error["ctx"]["faults"]
    else:
        key = ".".join(str(part) for part in error["loc"])
        yield key, in_words(error)


def _origin(key: str) -> str:
    name = f"KPI_{key.upper()}"
    if name in _environment():
        return f"{name} (environment)"
    return f"{name} (.env)" if name in _env_file() else key


def _environment() -> set[str]:
    return {name.upper() for name in EnvSettingsSource(Settings).env_vars}


def _env_file() -> set[str]:
    return {name.upper() for name in DotEnvSettingsSource(Settings).env_vars}
