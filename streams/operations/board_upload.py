"""Uploads the generated boards to Grafana through its API, into a folder of their own."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from streams.errors import BoardsError

FOLDER_UID = "kpi-monitor"
"""Id of the folder: uploading again updates the boards in it."""


def upload(url: str, *, token: str, folder: str) -> Iterator[str]:
    """Create or replace the boards, one after the other.

    Args:
        url: where Grafana is.
        token: of a service account that may edit dashboards and folders.
        folder: title of the folder, which is created if it is missing.

    Yields:
        The title and the URL of each board that was uploaded.

    Raises:
        BoardsError: Grafana does not answer or refuses, or the client is not installed.
    """
    try:
        client = importlib.import_module("grafana_client")
        errors = importlib.import_module("grafana_client.client")
        network = importlib.import_module("niquests.exceptions")
    except ModuleNotFoundError as error:
        raise BoardsError(
            f"{error.name} is not installed: the client of Grafana comes with the extra boards "
            "(pip install 'streaming-kpi-monitor[boards]')"
        ) from None
    try:
        grafana = client.GrafanaApi.from_url(url, token)
        _ensure(grafana, folder, missing=errors.GrafanaClientError)
        for board in boards():
            answer = grafana.dashboard.update_dashboard(
                {"dashboard": board, "folderUid": FOLDER_UID, "overwrite": True}
            )
            yield f"{board['title']}: {url.rstrip('/')}{answer['url']}"
    except errors.GrafanaUnauthorizedError:
        raise BoardsError(
            f"Grafana at {url} refuses the token; set KPI_GRAFANA_TOKEN or KPI_GRAFANA_TOKEN_FILE "
            "to that of a service account with the role Editor"
        ) from None
    except (errors.GrafanaException, network.RequestException) as error:
        raise BoardsError(f"Grafana at {url}: {error}; look at KPI_GRAFANA") from None


def boards() -> Iterator[dict[str, Any]]:
    """Yield the boards, in the order of their files' names."""
    folder = resources.files("dashboards").joinpath("json")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        yield json.loads(file.read_text("utf-8"))


def _ensure(grafana: Any, title: str, *, missing: type[Exception]) -> None:
    """Create the folder, unless it exists."""
    try:
        grafana.folder.get_folder(FOLDER_UID)
    except missing as error:
        if getattr(error, "status_code", None) != 404:
            raise
        grafana.folder.create_folder(title, uid=FOLDER_UID)
