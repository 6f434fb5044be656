"""The scenarios, by what they hurt; importing this registers all of them."""

from tests.chaos.faults import (
    broker,
    clocks,
    disk,
    history,
    input,
    load,
    redis,
    sabotage,
    state,
    upgrade,
    workers,
)

__all__ = [
    "broker",
    "clocks",
    "disk",
    "history",
    "input",
    "load",
    "redis",
    "sabotage",
    "state",
    "upgrade",
    "workers",
]
