"""``kpi-monitor boards``: upload the boards to Grafana."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from streams import settings
from streams.commands.options import out
from streams.operations import board_upload


def boards(
    grafana: Annotated[
        str | None, typer.Option(help="URL of Grafana; the token is KPI_GRAFANA_TOKEN.")
    ] = None,
    folder: Annotated[str, typer.Option(help="Title of the folder, if it is new.")] = "KPI monitor",
) -> None:
    """Upload the boards to a Grafana of your own; repeat it after an upgrade.

    The stack of docker-compose.yml has them already. The boards let you choose the Prometheus
    data source.
    """
    chosen = settings.load(grafana=grafana)
    for uploaded in board_upload.upload(chosen.grafana, token=chosen.grafana_secret, folder=folder):
        out.print(escape(uploaded), highlight=False, soft_wrap=True)
