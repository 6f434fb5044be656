"""How Redis is reached: address, encryption and credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 2.0
"""A Redis that answers later is treated as away: nothing waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis or Valkey and how this deployment may speak with it.

    ``url`` may name a user (``redis://monitor@host``); ``rediss://`` is TLS.
    ``password`` stands before one in the URL. Without a ``ca_file`` the system's
    authorities are trusted; ``cert_file`` and ``key_file`` are this client's own.
    """

    url: str = field(repr=False)
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def client_options(self) -> dict[str, Any]:
        """Return what redis-py's `from_url` takes beside the URL."""
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
