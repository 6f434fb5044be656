"""However many browsers look at the page, one picture a second is made, and sent to all."""

from __future__ import annotations

import asyncio
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import msgspec
import pytest

from streams.export import web
from streams.export.page.broadcast import GZIP_HEADER, Picture, Pictures
from streams.export.page.snapshot import live
from streams.export.worker_view import WorkerView
from tests.factories.views import queries, worker

BROWSERS = 200


class Rendered:
    """A live view that counts how often it is rendered, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.count = 0
        self.now_s = 100.0

    def __call__(self) -> dict[str, Any]:
        self.count += 1
        return {"now": self.count, "kpis": ["k"] * 500}


def test_one_a_second() -> None:
    """All who ask within a second get the same picture; then the next is rendered once."""
    made = Rendered()
    pictures = Pictures(made, clock=lambda: made.now_s)
    first = [pictures.newest() for _ in range(BROWSERS)]
    made.now_s += 0.9
    assert pictures.newest() is first[0]
    assert pictures.wait_s(first[0]) == pytest.approx(0.1)
    made.now_s += 0.1
    second = [pictures.newest() for _ in range(BROWSERS)]
    assert made.count == 2
    assert {id(one) for one in first}.isdisjoint({id(one) for one in second})
    assert second[0].json is second[-1].json
    made.now_s += 60
    assert pictures.wait_s(second[0]) == 0.0
    assert pictures.newest().content["now"] == 3


@pytest.mark.parametrize("first", [0, 1, 2])
def test_streams_may_begin_with_any_picture(first: int) -> None:
    """After the header, a gzip stream may begin with any picture and go on with the next ones."""
    made = [Picture({"now": number, "kpis": ["k"] * 500}, due_s=0.0) for number in range(3)]
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unpacker.decompress(GZIP_HEADER)
    for one in made[first:]:
        # Each message can be read whole before the next one comes.
        assert unpacker.decompress(one.deflated) == one.message
        assert len(one.deflated) * 10 < len(one.message)
    assert msgspec.json.decode(made[0].message.removeprefix(b"data: ")) == made[0].content


@pytest.fixture
def served(view: WorkerView, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[int]]]:
    """A server, and how often it rendered the view."""
    rendered: list[int] = []

    def counted(*arguments: Any) -> dict[str, Any]:
        rendered.append(1)
        return live(*arguments) | {"number": len(rendered)}

    monkeypatch.setattr(web, "live", counted)
    server = web.WebServer(lambda: view, host="127.0.0.1", port=0, exports=queries(), share=None)
    server.start()
    yield server.url, rendered
    server.stop()


async def messages(session: aiohttp.ClientSession, url: str, count: int) -> list[int]:
    """Return the numbers of the first pictures that a browser gets."""
    found: list[int] = []
    async with session.get(f"{url}api/stream") as answer:
        async for line in answer.content:
            if line.startswith(b"data: "):
                found.append(msgspec.json.decode(line.removeprefix(b"data: "))["number"])
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_200_browsers(served: tuple[str, list[int]], encoding: str) -> None:
    """200 browsers for three pictures each cost one rendering a second; each gets newer ones.

    A browser that reads slowly, as all do on a busy machine, may miss one.
    """
    url, rendered = served
    began_s = time.monotonic()

    async def look() -> list[list[int]]:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Accept-Encoding": encoding}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            return await asyncio.gather(*(messages(session, url, 3) for _ in range(BROWSERS)))

    seen = asyncio.run(look())
    assert len(seen) == BROWSERS
    assert all(one[0] < one[1] < one[2] for one in seen)
    assert max(one[-1] for one in seen) <= len(rendered) <= time.monotonic() - began_s + 2


class Share:
    """The share of a worker that knows the picture of the KPIs' owner."""

    def __init__(self) -> None:
        self.others = {"owner": True, "now": 1, "kpis": ["clicks"]}

    async def run(self, own: Callable[[], dict[str, Any]]) -> None:
        """Do nothing."""


def test_others_are_shown() -> None:
    """A worker that does not own the KPIs shows the owner's picture, with its own clock."""
    share: Any = Share()
    own = worker(None)
    server = web.WebServer(lambda: own, host="127.0.0.1", port=0, exports=queries(), share=share)
    server.start()
    with urllib.request.urlopen(f"{server.url}api/live", timeout=10) as answer:
        shown = msgspec.json.decode(answer.read())
    server.stop()
    assert shown == {"owner": False, "now": own.now_ms, "kpis": ["clicks"]}
