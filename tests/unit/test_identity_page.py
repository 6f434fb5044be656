"""The mappings of docs/how-to/identity.md link the ids of clicks to those of orders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.kpi.catalogue import CATALOGUE
from models.money.exchange_rates import Rates
from streams.feed.dry_run import Monitor, dry_run
from streams.feed.events.file_set import FileSet
from streams.ingest.registry.campaign_index import CampaignIndex
from tests.factories.feed import read
from tests.support.offline import RULES

NOW_MS = 1_795_700_000_000
CLICKS = """\
time: {value: "{t}"}
events:
  - {type: click, when: {kind: click}, fields: {user_id: "{u}"}}
  - type: order_placed
    when: {kind: order}
    fields: {user_id: "{u}", order_id: "{t}", amount: "5", currency: EUR}
"""
CLICK = "t,kind,u\n2026-11-25T13:00:00Z,click,cookie-7f3a\n"
ORDER = "2026-11-25T13:30:00Z,order,erin@example.com\n"


@pytest.mark.parametrize(
    ("number", "events", "touches"),
    [(0, CLICK, (2, 1)), (1, CLICK + ORDER, (1, 1))],
)
def test_the_page_links_ids(
    number: int, events: str, touches: tuple[int, int], repository: Path, tmp_path: Path
) -> None:
    """Each mapping of the page, fed with the clicks, gives the order of the cookie its touch."""
    page = (repository / "docs" / "how-to" / "identity.md").read_text("utf-8")
    mapping = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[number]
    rows = re.findall(r"```csv\n(.*?)```", page, re.DOTALL)[number]
    files = []
    for name, text, mapped in (("own", rows, mapping), ("other", events, CLICKS)):
        folder = tmp_path / name
        folder.mkdir()
        files.append(read(folder, text, mapped))
    monitor = Monitor(RULES, CampaignIndex(()), Rates("EUR"), CATALOGUE, customers=True)
    found = dry_run(FileSet(tmp_path, files).named_events(), monitor, now_ms=NOW_MS)
    assert (found.touches.orders, found.touches.touched) == touches
    assert found.dead_letters == 0
