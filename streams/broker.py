"""Connection settings of Kafka: address, encryption and credentials, for every client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from streams.errors import ConfigError

Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A Kafka cluster, and how this deployment connects to it.

    Attributes:
        servers: bootstrap address, host:port.
        security: whether TLS and SASL are used.
        mechanism: the SASL mechanism.
        username: user name, with SASL.
        password: password, with SASL.
        ca_file: certificate authorities to trust, as PEM; None trusts those of the system.
        cert_file: this client's certificate, for mutual TLS.
        key_file: the private key of that certificate.
    """

    servers: str
    security: Security = "plaintext"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @property
    def with_sasl(self) -> bool:
        """Whether clients authenticate with a user name and password."""
        return self.security.startswith("sasl")

    def client_options(self) -> dict[str, Any]:
        """Return the options that clients of aiokafka and kafka-python both take.

        Raises:
            ConfigError: a certificate can't be read.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security.upper(),
        }
        if self.with_sasl:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        context = self.ssl_context()
        if context is not None:
            options["ssl_context"] = context
        return options

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS.

        Raises:
            ConfigError: a certificate can't be read.
        """
        if not self.security.endswith("ssl"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise _unreadable("kafka_ca_file", self.ca_file, error) from None
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file)
            except OSError as error:
                raise _unreadable("kafka_cert_file", self.cert_file, error) from None
        return context


def _unreadable(key: str, path: Path | None, error: OSError) -> ConfigError:
    why = error.strerror or "is not a PEM certificate"
    return ConfigError(source="settings", where=key, why=f"{path} can't be used: {why}")
