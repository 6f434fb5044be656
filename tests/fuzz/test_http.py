"""No request makes the web side fail, change anything, or forget its headers."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.window import BusinessDay
from streams.export.report_queries import ReportQueries
from streams.export.web import WebServer
from tests.factories.views import worker
from tests.support.fuzzing import edits, fuzzed
from tests.support.offline import NOON, UNUSED_POSITION, Path, event

PATHS = (
    "/",
    "/live.js",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/live",
    "/api/stream",
    "/api/rules",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
ALLOWED = {200, 400, 403, 404, 405, 408, 411, 413, 414, 417, 431, 503}
"""503 is a worker that is not ready, at /readyz only."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    path = Path()
    path.feed([event(at=NOON, event_id="a"), event("order_placed", at=NOON + 9, event_id="b")])
    path.finish()
    path.kpis.tick(UNUSED_POSITION, now_ms=path.now_ms + 10_000)
    view = worker(path.kpis.view)
    server = WebServer(
        lambda: view,
        host="127.0.0.1",
        port=0,
        exports=ReportQueries(
            day=BusinessDay(ZoneInfo("UTC")), currency="CNY", largest_series_count=1000
        ),
        share=None,
    )
    server.start()
    yield int(server.url.rstrip("/").rpartition(":")[2])
    server.stop()


def alive(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/healthz")
    answer = client.getresponse()
    return answer.status == 200 and json.load(answer) == {"status": "alive"}


def ask(port: int, request: bytes) -> bytes:
    """Send bytes and return the first of the answer; nothing if the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        try:
            return line.recv(65536)
        except ConnectionResetError:
            return b""


def judge(answer: bytes) -> None:
    if not answer:
        return
    assert answer.startswith(b"HTTP/"), answer[:80]
    status = int(answer.split(b" ", 2)[1])
    assert status in ALLOWED, answer[:300]
    assert b"Traceback" not in answer


@pytest.mark.parametrize("version", ["=0.0.4", "one", "1.x", "", "-1"])
def test_malformed_version_gets_plain_text(port: int, version: str) -> None:
    """A scrape that asks for a version that is no number gets the plain text format."""
    accept = f"text/plain;version={version}, application/openmetrics-text;version={version}"
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/metrics", headers={"Accept": accept})
    answer = client.getresponse()
    assert answer.status == 200
    assert b"kpi_monitor_running" in answer.read()


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Accept", "Host", "Range", "Cookie", "Content-Length", "Expect", "X-A"]),
        st.sampled_from(
            [
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=x",
                "text/plain;version=;escaping=allow-utf-8",
                "text/plain;version==0.0.4",
                "text/plain;version=1.0.0;escaping=nonsense;q=",
                "*/*;q=-1",
                "bytes=0-",
            ]
        )
        | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    ),
    max_size=4,
)


@fuzzed
@given(
    st.sampled_from(METHODS) | st.text(st.characters(categories=["Lu"]), min_size=1, max_size=8),
    st.sampled_from(PATHS) | st.text(max_size=30).map(lambda text: "/" + text),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    HEADERS,
    st.binary(max_size=100),
)
def test_no_request_makes_it_fail(
    port: int, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    lines = [f"{method} {path}?{query} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    judge(ask(port, "\r\n".join(lines).encode("utf-8", "ignore") + b"\r\n\r\n" + body))


@fuzzed
@given(
    edits(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: text/plain;version=0.0.4\r\n\r\n")
    | st.binary(max_size=200)
)
def test_no_bytes_make_it_fail(port: int, request: bytes) -> None:
    judge(ask(port, request))


def test_it_is_still_there(port: int) -> None:
    assert alive(port)


@pytest.mark.parametrize(
    "method", [one for one in METHODS if one not in {"GET", "HEAD", "CONNECT"}]
)
@pytest.mark.parametrize("path", PATHS)
def test_nothing_can_be_changed(port: int, method: str, path: str) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request(method, path, body=b"{}")
    answer = client.getresponse()
    assert answer.status == 405
    check_headers(answer)


@pytest.mark.parametrize("path", [*PATHS[:-1], "/nothing-here"])
def test_every_answer_carries_the_security_headers(port: int, path: str) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", path)
    check_headers(client.getresponse())


def check_headers(answer: http.client.HTTPResponse) -> None:
    policy = answer.getheader("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cache-Control") == "no-store"
    assert "Python" not in (answer.getheader("Server") or "")


def test_a_large_request_is_refused(port: int) -> None:
    judge(ask(port, b"GET /?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"))
    headers = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 500) for number in range(400))
    judge(ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"))
    assert alive(port)
