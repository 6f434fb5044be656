"""Measures what open live pages cost a worker: CPU and bytes a second, for numbers of browsers.

A web server in a process of its own serves the view of a campaign with many campaigns; this process
opens the streams and reads them as browsers do, with gzip if the server has it.

    python -m benchmarks.page --browsers 1 50 200
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from models.scope import Scope
from streams.export.web import WebServer
from streams.export.worker_view import WorkerView
from tests.factories.views import queries, synthetic_view

CAMPAIGNS = 100
"""Number of campaigns in the view."""
MEASURED_S = 10.0


def many_campaigns(view: WorkerView) -> WorkerView:
    """Return the view with the values of its first campaign also as those of many others."""
    assert view.kpis is not None
    latest = {}
    for name, one in view.kpis.latest.items():
        of = next(values for scope, values in one.values.items() if scope.kind == "campaign")
        more = {Scope("campaign", f"k{number:03}"): of for number in range(CAMPAIGNS)}
        latest[name] = replace(one, values={**one.values, **more})
    return replace(view, kpis=replace(view.kpis, latest=latest))


def serve() -> None:
    """Serve until the standard input ends."""
    view = many_campaigns(synthetic_view())
    server = WebServer(lambda: view, host="127.0.0.1", port=0, exports=queries(), share=None)
    server.start()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def read(port: int, received: list[int]) -> None:
    """Read a stream for ever, and count its bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/stream HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
    try:
        while data := await reader.read(1 << 20):
            received[0] += len(data)
    finally:
        writer.close()


async def watch(port: int, pictures: list[int]) -> None:
    """Read a stream for ever, and count its pictures, each of which ends with an empty line."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/api/stream") as answer,
    ):
        async for data in answer.content.iter_any():
            pictures[0] += data.count(b"\n\n")


async def measure(port: int, server: int, browsers: int) -> tuple[float, float, float]:
    """Return the server's CPU seconds, the pictures that a browser got and the MB, all a second."""
    received, pictures = [0], [0]
    streams = [asyncio.create_task(read(port, received)) for _ in range(browsers - 1)]
    streams.append(asyncio.create_task(watch(port, pictures)))
    await asyncio.sleep(3)
    pictures_before = pictures[0]
    before_s, bytes_before, started = cpu_s(server), received[0], time.monotonic()
    await asyncio.sleep(MEASURED_S)
    after_s, seconds = cpu_s(server), time.monotonic() - started
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return (
        (after_s - before_s) / seconds,
        (pictures[0] - pictures_before) / seconds,
        (received[0] - bytes_before) / seconds / 1e6,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browsers", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.page", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
    table = Table("browsers", "CPU s a second", "pictures a second, each", "MB a second")
    for browsers in chosen.browsers:
        cpu, pictures, sent = asyncio.run(measure(port, server.pid, browsers))
        table.add_row(str(browsers), f"{cpu:.2f}", f"{pictures:.2f}", f"{sent:.1f}")
    server.communicate()
    Console().print(table)


if __name__ == "__main__":
    main()
