"""The embedded Valkey with a user of its own."""

from __future__ import annotations

from streams.embedded.valkey import EmbeddedValkey

USER = "monitor"
PASSWORD = "s3cret-of-redis"


class UserValkey(EmbeddedValkey):
    """A Valkey that only lets the monitor's user in, to keys of its own only."""

    options = (
        *("--user", "default", "off"),
        *("--user", USER, "on", f">{PASSWORD}", "~*:live", "~*:customer*", "+client", "+hello"),
        *("+get", "+set", "+evalsha", "+script|load", "+info"),
        *("+hincrby", "+hset", "+hsetnx", "+hget", "+hgetall", "+hexists", "+hkeys", "+hlen"),
        *("+hdel", "+lrange", "+rpush", "+expire"),
    )
