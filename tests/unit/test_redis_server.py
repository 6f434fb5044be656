"""What is said about Redis: where it is, without its password, and whether it keeps its keys."""

from __future__ import annotations

import pytest

from streams.redis_server import RedisServer, evicting_policy


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379"),
        ("rediss://monitor:hunter2@host:6380/3", "rediss://host:6380"),
        ("redis://:hunter2@host", "redis://host:6379"),
        ("redis://", "redis://localhost:6379"),
        ("unix://:hunter2@/run/redis.sock?db=2", "unix:///run/redis.sock"),
    ],
)
def test_address(url: str, address: str) -> None:
    """The address has no user and no password."""
    assert RedisServer(url=url).address == address


@pytest.mark.parametrize(
    ("memory", "policy"),
    [
        ({}, None),
        ({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, None),
        ({"maxmemory": 1, "maxmemory_policy": "noeviction"}, None),
        ({"maxmemory": 1, "maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
    ],
)
def test_evicting(memory: dict[str, object], policy: str | None) -> None:
    """Redis removes keys only if its memory has a limit and its policy is another than none."""
    assert evicting_policy(memory) == policy
