"""An embedded Valkey that requires a user with a password."""

from __future__ import annotations

from streams.embedded.valkey import EmbeddedValkey

USER = "monitor"
PASSWORD = "s3cret-of-redis"


class UserValkey(EmbeddedValkey):
    """A Valkey with one user, who may run only the monitor's commands on the monitor's keys."""

    options = (
        *("--user", "default", "off"),
        *("--user", USER, "on", f">{PASSWORD}", "~*:live", "~*:customer*", "+client", "+hello"),
        *("+get", "+set", "+evalsha", "+script|load", "+info"),
        *("+hincrby", "+hset", "+hsetnx", "+hget", "+hgetall", "+hexists", "+hkeys", "+hlen"),
        *("+hdel", "+lrange", "+rpush", "+expire"),
    )
