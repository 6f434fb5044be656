"""The live picture goes from worker to worker through a real Valkey."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.embedded.valkey import EmbeddedValkey
from streams.export.page import redis_share
from streams.export.page.redis_share import LiveShare
from streams.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_failed_snapshot_does_not_stop_sharing(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A snapshot that can't be made does not stop the sharing of later ones."""
    monkeypatch.setattr(redis_share, "EVERY_S", 0.01)
    owner, other = (LiveShare(RedisServer(url=valkey.url), app_id="shares") for _ in range(2))
    pictures = 0

    def own() -> dict[str, Any]:
        nonlocal pictures
        pictures += 1
        if pictures < 3:
            raise TypeError("not yet")
        return {"owner": True, "picture": pictures}

    async def main() -> None:
        tasks = [
            asyncio.create_task(owner.run(own)),
            asyncio.create_task(other.run(lambda: {"owner": False})),
        ]
        async with asyncio.timeout(20):
            while other.others is None or other.others["picture"] < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()

    asyncio.run(main())
    (told,) = [record for record in caplog.records if "not shared: TypeError" in record.message]
    assert told.exc_info is not None
