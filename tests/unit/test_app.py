"""What runs beside the engine of a worker ends the worker when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streams import app
from streams.app import Monitor

WORKS = ("narrate_recovery", "follow", "deliver")


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    """End."""


async def fail() -> None:
    raise RuntimeError("no more")


def monitor(failing: str = "") -> Monitor:
    works = {name: fail if name == failing else forever for name in WORKS}
    return Monitor(
        settings=SimpleNamespace(web_ready_file=None),
        engine=SimpleNamespace(narrate_recovery=works["narrate_recovery"]),
        web=SimpleNamespace(start=lambda: None, stop=lambda: None, url=""),
        registry=SimpleNamespace(read_all=at_once, follow=works["follow"]),
        delivery=SimpleNamespace(run=works["deliver"]),
    )


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why the process would have ended."""
    reasons: list[str] = []

    def end_process(why: str, *details: object) -> None:
        reasons.append(why % details)

    async def run(_: object, *, before_start: Callable[[], Any]) -> None:
        await before_start()
        await asyncio.sleep(0.05)

    monkeypatch.setattr(app, "end_process", end_process)
    monkeypatch.setattr("streams.app.faust_worker.run", run)
    return reasons


@pytest.mark.parametrize("which", WORKS)
def test_failed_background_task_ends_the_worker(which: str, ended: list[str]) -> None:
    """A background task that fails ends the worker with the reason."""
    with pytest.raises(RuntimeError, match="no more"):  # only as the process went on here
        asyncio.run(monitor(which).run())
    (why,) = ended
    assert why.endswith("failed (RuntimeError); start it again")


def test_stopped_worker_reports_no_failure(ended: list[str]) -> None:
    """A worker that is asked to stop reports no failure."""
    asyncio.run(monitor().run())
    assert ended == []
