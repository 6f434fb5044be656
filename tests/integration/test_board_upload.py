"""Boards are uploaded through Grafana's API.

Grafana is in no package registry. A server stands in for it, which checks what Grafana checks: the
token, the folder, the shape of a request.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run

pytestmark = [pytest.mark.integration]

TOKEN = "glsa_of_an_editor"


class Grafana(ThreadingHTTPServer):
    """Folders and boards in memory; ``boards`` are by uid, ``folders`` titles by uid."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.boards: dict[str, dict[str, Any]] = {}
        self.folders: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Grafana

    def do_GET(self) -> None:
        """Return a folder."""
        uid = self.path.rpartition("/")[2]
        if self._may():
            known = uid in self.server.folders
            self._answer(200 if known else 404, {"uid": uid, "message": "folder not found"})

    def do_POST(self) -> None:
        """Create a folder, or create or replace a board."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        if self.path == "/api/folders":
            self.server.folders[body["uid"]] = body["title"]
            self._answer(200, body)
        elif self.path == "/api/dashboards/db":
            board = body["dashboard"]
            if body["folderUid"] not in self.server.folders:
                self._answer(400, {"message": "folder not found"})
            elif board["uid"] in self.server.boards and not body["overwrite"]:
                self._answer(412, {"message": "the board has been changed by someone else"})
            else:
                self.server.boards[board["uid"]] = board
                self._answer(200, {"uid": board["uid"], "url": f"/d/{board['uid']}/x"})
        else:
            self._answer(404, {"message": "no such path"})

    def _may(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {TOKEN}":
            return True
        self._answer(401, {"message": "Invalid API key"})
        return False

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    """A server that stands in for Grafana."""
    with Grafana() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_uploaded(grafana: Grafana, tmp_path: Path, repository: Path) -> None:
    """All boards are in the folder, also after a second time, and the token is read from a file."""
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    files = sorted((repository / "dashboards" / "json").glob("*.json"))
    expected = {board["uid"]: board for board in (json.loads(file.read_text()) for file in files)}
    for _ in range(2):
        done = run("boards", "--grafana", grafana.url, KPI_GRAFANA_TOKEN_FILE=str(token))
        assert done.returncode == 0, done.stderr
        assert grafana.boards == expected
        assert grafana.folders == {"kpi-monitor": "KPI monitor"}
        assert all(f"{grafana.url}/d/{uid}/x" in done.stdout for uid in expected)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "KPI_GRAFANA_TOKEN: is not set"),
        ({"KPI_GRAFANA_TOKEN": "glsa_wrong"}, "refuses the token; set KPI_GRAFANA_TOKEN"),
    ],
)
def test_refused(grafana: Grafana, environment: dict[str, str], said: str) -> None:
    """Without a token, or with a wrong one, the error says what to do and not the token."""
    done = run("boards", "--grafana", grafana.url, **environment)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "glsa_wrong" not in done.stderr + done.stdout
    assert not grafana.boards


def test_no_grafana() -> None:
    """Where nobody listens, the error names the address."""
    done = run("boards", "--grafana", "http://127.0.0.1:9", KPI_GRAFANA_TOKEN=TOKEN)
    assert done.returncode == 2
    assert "Grafana at http://127.0.0.1:9" in done.stderr
    assert TOKEN not in done.stderr
