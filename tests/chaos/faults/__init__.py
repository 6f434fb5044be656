"""The scenarios, grouped by the part that fails; importing this package registers all of them."""

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
