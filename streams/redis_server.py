"""Connection to Redis: address, encryption, credentials, and whether it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from streams.errors import RedisUnreachableError

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

    @property
    def address(self) -> str:
        """The address without user and password, for messages."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return f"unix://{parts.path}"
        return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}"

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


def probe(server: RedisServer, *, key: str, memory: bool) -> None:
    """Ask Redis what a worker asks it: a key and, for customers, whether it keeps what it takes.

    Args:
        server: the connection settings.
        key: a key that may be read; it need not exist.
        memory: whether the settings of its memory are checked.

    Raises:
        RedisUnreachableError: it does not answer, refuses this user, or removes keys when it is
            full.
    """
    try:
        with redis.Redis.from_url(server.url, **server.client_options()) as client:
            client.get(key)
            policy = evicting_policy(client.info("memory")) if memory else None
    except (AuthenticationError, NoPermissionError) as error:
        raise RedisUnreachableError(
            f"Redis at {server.address} refuses this user ({type(error).__name__}); look at "
            "KPI_REDIS and KPI_REDIS_PASSWORD_FILE"
        ) from None
    except (RedisError, OSError) as error:
        raise RedisUnreachableError(
            f"no Redis answers at {server.address} ({type(error).__name__}); start it, or set "
            "KPI_REDIS to where it is"
        ) from None
    if policy is not None:
        raise RedisUnreachableError(
            f"Redis at {server.address} removes keys when it is full (maxmemory-policy {policy}); "
            "set it to noeviction"
        )


def evicting_policy(memory: Mapping[str, Any]) -> str | None:
    """Return the policy by which Redis removes keys when it is full; None if it keeps them.

    Args:
        memory: the answer to ``INFO memory``.
    """
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return policy if int(memory.get("maxmemory", 0)) and policy != "noeviction" else None
