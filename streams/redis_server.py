"""Connection settings of Redis: address, encryption and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 2.0
"""A Redis that takes longer to answer, in s, counts as not answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis or Valkey server, and how this deployment connects to it.

    Attributes:
        url: its address. It may name a user (``redis://monitor@host``); ``rediss://`` is TLS.
        password: used if the URL has none.
        ca_file: certificate authorities to trust, as PEM; None trusts those of the system.
        cert_file: this client's certificate, for mutual TLS.
        key_file: the private key of that certificate.
    """

    url: str = field(repr=False)
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def client_options(self) -> dict[str, Any]:
        """Return the options that redis-py's `from_url` takes beside the URL."""
        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
        }
        if self.password:
            options["password"] = self.password
        if self.url.startswith("rediss://"):
            files = {
                "ssl_ca_certs": self.ca_file,
                "ssl_certfile": self.cert_file,
                "ssl_keyfile": self.key_file,
            }
            options |= {name: str(path) for name, path in files.items() if path is not None}
            options["ssl_check_hostname"] = True
        return options
