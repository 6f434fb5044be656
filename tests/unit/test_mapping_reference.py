"""docs/mappings.md: its examples are fed as they stand there, and every key is on it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.feed.mapping.field_helpers import FieldSource
from streams.feed.mapping.mapping_file import EventMapping, FileMapping
from streams.feed.mapping.number_format import NumberFormat
from streams.feed.mapping.row_filters import ColumnTest
from streams.feed.mapping.time_format import EventTime
from tests.factories.feed import read, refused, whole_events
from tools.mapping_examples import EXAMPLES
from tools.mapping_reference import mappings_page


def blocks(page: str, title: str) -> list[tuple[str, str]]:
    """Return the language and text of each block of code of an example."""
    section = page.split(f"\n### {title}\n")[1].split("\n### ")[0].split("\n## ")[0]
    return re.findall(r"```([a-z]*)\n(.*?)\n```", section, re.DOTALL)


@pytest.mark.parametrize("title", [example.title for example in EXAMPLES])
def test_example(title: str, tmp_path: Path, repository: Path) -> None:
    """The rows of an example become the events below it, and the others are refused as it says."""
    page = (repository / "docs" / "mappings.md").read_text()
    (_, mapping), (kind, rows), (_, expected), *others = blocks(page, title)
    name = "log.ndjson" if kind == "json" else "log.csv"
    mapped = read(tmp_path, f"{rows}\n", mapping, name=name)
    made = whole_events(mapped)
    for event in made:
        del event["event_id"]
        moment = datetime.fromtimestamp(event["event_time"] / 1000, UTC).isoformat()
        event["event_time"] = moment.replace("+00:00", "Z")
    assert made == [json.loads(line) for line in expected.split("\n")]
    whys = [f"line {one['_line']}: {one['_why']}" for one in refused(mapped)]
    assert whys == [text for _, text in others]


def test_every_key_is_explained() -> None:
    """Each key of a mapping has its row, with its meaning."""
    rows = [line.split(" | ") for line in mappings_page().splitlines() if line.startswith("| `")]
    explained = {row[0].strip("| `"): row[-1].strip(" |") for row in rows}
    for model in (FileMapping, EventMapping, EventTime, NumberFormat, FieldSource, ColumnTest):
        for name, field in model.model_fields.items():
            assert explained[field.alias or name], name
