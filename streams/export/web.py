"""The web server of a worker: /metrics, health checks, the live page and its stream.

It runs in a thread with its own event loop, so that it answers before the worker has recovered
and shows the progress of the recovery.

- ``/healthz`` is 200 while the server runs.
- ``/readyz`` is 200 while the worker has its state and reads, and 503 otherwise.
- ``/api/rules`` is the last verdicts of the alert rules; ``?rule=NAME`` is those of one rule,
  ``&limit=50&offset=50`` its next scopes. On a worker that does not own the KPIs they are those of
  the owner's live view.
- ``/api/live`` is the live view as JSON; ``/api/stream`` sends it every second as server-sent
  events. Both send the same picture to all who ask (`page.broadcast`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from importlib import resources
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from streams.alerting.rule_status import NEAREST_KEPT
from streams.errors import MonitorError
from streams.export.metrics.text_format import MetricsText
from streams.export.page.broadcast import GZIP_HEADER, Picture, Pictures
from streams.export.page.redis_share import LiveShare
from streams.export.page.snapshot import live
from streams.export.report_queries import ReportQueries
from streams.export.rule_statuses import NEAREST_SHOWN, rule_statuses
from streams.export.worker_view import ViewSource

log = logging.getLogger(__name__)

STREAMS_END_WITHIN_S = 0.5
"""Time that open streams have to end when the server stops; then they are cancelled."""
LARGEST_STREAM_COUNT = 500
"""Largest number of open streams; further requests are answered with 503 and Retry-After."""

LARGEST_RULES_LIMIT = 100
"""Largest number of scopes of a rule in one answer of ``/api/rules``."""

_PAGE = {
    "live.html": "text/html",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "texts_en.js": "text/javascript",
    "texts_zh.js": "text/javascript",
}
"""The files of the live page, and their types."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WebServer:
    """Serves a worker's view on one address.

    Args:
        view: returns the worker's view.
        host: address to listen on.
        port: 0 picks a free one.
        exports: answers queries about the view.
        share: exchanges the live view with other workers; None without Redis.
    """

    def __init__(
        self,
        view: ViewSource,
        *,
        host: str,
        port: int,
        exports: ReportQueries,
        share: LiveShare | None,
    ) -> None:
        self._view = view
        self._host = host
        self._port = port
        self._exports = exports
        self._share = share
        self._metrics_text = MetricsText(view, exports)
        folder = resources.files("streams.export.page")
        self._page = {name: folder.joinpath(name).read_bytes() for name in _PAGE}
        self._own = Pictures(lambda: live(view(), exports))
        self._others = Pictures(self._picture_of_others)
        self._streams = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def url(self) -> str:
        """URL of the live page; the loopback address if the server listens on all."""
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::"} else self._host  # noqa: S104
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Start the thread and wait until it listens.

        Raises:
            MonitorError: the server can't listen on the address, such as one that is taken.
        """
        self._thread.start()
        self._started.wait(10)
        if self._failure is not None:
            raise MonitorError(
                f"the web side can't listen on {self._host}:{self._port} "
                f"({self._failure.strerror}); set KPI_WEB_PORT to a free port, or 0 for any"
            )

    def stop(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            runner = self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._failure = error
            return
        finally:
            self._started.set()
        if self._share is not None:
            self._loop.create_task(self._share.run(lambda: self._own.newest().content))
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _listen(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024)
        app.on_response_prepare.append(_add_headers)
        app.add_routes(
            [
                web.get("/", self._file),
                *(web.get(f"/{name}", self._file) for name in _PAGE),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/api/live", self._live),
                web.get("/api/stream", self._stream),
                web.get("/api/rules", self._rules),
            ]
        )
        runner = web.AppRunner(
            app, access_log=None, logger=_server_log(), shutdown_timeout=STREAMS_END_WITHIN_S
        )
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        await site.start()
        if self._port == 0:
            self._port = runner.addresses[0][1]
        return runner

    def _picture(self) -> Picture:
        """Return the newest picture: that of the KPIs' owner, as far as it is known here."""
        own = self._own.newest()
        if own.content["owner"] or self._share is None or self._share.others is None:
            return own
        return self._others.newest()

    def _picture_of_others(self) -> dict[str, Any]:
        others = {} if self._share is None else self._share.others or {}
        return {**others, "now": self._view().now_ms, "owner": False}

    async def _file(self, request: web.Request) -> web.Response:
        name = request.path.lstrip("/") or "live.html"
        return web.Response(body=self._page[name], content_type=_PAGE[name], charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.Response:
        answer = await asyncio.to_thread(
            self._metrics_text.answer,
            accept=request.headers.get("Accept", ""),
            accept_encoding=request.headers.get("Accept-Encoding", ""),
        )
        return web.Response(body=answer.body, headers=answer.headers)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _: web.Request) -> web.Response:
        view = self._view()
        ready = view.phase == "running"
        body = {"status": view.phase, "sources": view.sources, "kpis": view.kpis is not None}
        return web.json_response(body, status=200 if ready else 503)

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(body=self._picture().json, content_type="application/json")

    async def _rules(self, request: web.Request) -> web.Response:
        name = request.query.get("rule")
        try:
            limit = _whole(request, "limit", default=NEAREST_SHOWN, most=LARGEST_RULES_LIMIT)
            offset = _whole(request, "offset", default=0, most=NEAREST_KEPT)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        kpis = self._view().kpis
        if kpis is None:
            found = self._picture().content.get("rules", [])
            found = [
                {**one, "scopes": one["scopes"][offset : offset + limit]}
                for one in found
                if name in {None, one["rule"]}
            ]
        else:
            wanted = [one for one in kpis.rules if name in {None, one.rule}]
            found = rule_statuses(wanted, self._exports, limit=limit, offset=offset)
        if name is not None and not found:
            return web.json_response({"error": f"no rule {name!r} is judged"}, status=404)
        exports = self._exports
        return web.json_response(
            {
                "currency": exports.currency,
                "time_zone": str(exports.day.zone),
                "rules": found,
            }
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= LARGEST_STREAM_COUNT:
            return web.Response(status=503, headers={"Retry-After": "10"})
        packed = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        headers = {"Content-Type": "text/event-stream", "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self._streams += 1
        try:
            if packed:
                await response.write(GZIP_HEADER)
            while True:
                picture = self._picture()
                await response.write(picture.deflated if packed else picture.message)
                await asyncio.sleep(self._own.wait_s(picture))
        except (ConnectionError, asyncio.CancelledError):
            return response
        finally:
            self._streams -= 1


def _whole(request: web.Request, key: str, *, default: int, most: int) -> int:
    """Return a whole number of the query.

    Raises:
        ValueError: it is none, or it is too large.
    """
    text = request.query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) > most:
        raise ValueError(f"{key}: give a whole number from 0 to {most}")
    return int(text)


def _server_log() -> logging.Logger:
    """Return a logger that drops errors of malformed requests, which anyone can cause."""
    server_log = logging.getLogger(f"{__name__}.server")
    server_log.addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
    )
    return server_log


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # Do not reveal the server software and its version.
    response.headers["Server"] = "kpi-monitor"
