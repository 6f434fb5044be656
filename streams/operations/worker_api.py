"""Asks the web side of a running worker."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from streams.errors import MonitorError
from streams.settings import Settings

ANSWERS_WITHIN_S = 5.0
"""Time that a worker has to answer."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""Addresses on which a worker listens everywhere, and those where it can be asked."""


class WorkerUnreachableError(MonitorError):
    """No worker answers."""


def url_of(settings: Settings) -> str:
    """Return the address of the worker of these settings on this machine."""
    host = _ANY.get(settings.web_host, settings.web_host)
    return f"http://{host}:{settings.web_port}/"


def rules_of(url: str, *, rule: str | None = None, limit: int) -> dict[str, Any]:
    """Return what a worker answers on `/api/rules`.

    Args:
        url: the address of its web side.
        rule: the name of a rule; None asks for all.
        limit: the number of scopes of each rule.

    Raises:
        WorkerUnreachableError: no worker answers, or it refuses.
    """
    if not url.startswith(("http://", "https://")):
        raise WorkerUnreachableError(f"{url}: give the address of a worker, http://host:port/")
    query = {"limit": str(limit), **({} if rule is None else {"rule": rule})}
    address = f"{url.rstrip('/')}/api/rules?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(address, timeout=ANSWERS_WITHIN_S) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise WorkerUnreachableError(f"{url}: {_reason(error)}") from None
    except (OSError, ValueError) as error:
        raise WorkerUnreachableError(
            f"no worker answers at {url} ({type(error).__name__}); start it, or give its address "
            "with --url"
        ) from None
    return found


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {error.code} on /api/rules; is it a worker of this version?"
