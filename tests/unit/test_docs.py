"""What is documented: every setting, every metric, every KPI."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import streams
from models.aggregates import ingest_report
from models.campaigns.campaign import Campaign
from models.events import SHAPES, CompleteThrough, Event, SourceKind, events_of, type_of
from models.kpi.catalogue import KPIS
from streams.export.metrics import collector
from streams.settings import Settings
from tests.support.at_once import settled
from tests.support.offline import ingest_job, record
from tools import event_reference, settings_reference


def test_every_variable_that_the_code_names_is_documented() -> None:
    files = Path(streams.__file__).parent.rglob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    texts = (str(node.value) for node in nodes if isinstance(node, ast.Constant))
    named = {name for text in texts for name in re.findall(r"\bKPI_[A-Z_]*[A-Z]\b", text)}
    page = settings_reference.settings_page()
    settings = {f"KPI_{name.upper()}" for name in Settings.model_fields}
    assert named - settings == {"KPI_CACHE_DIR", "KPI_NAME"}
    assert set(re.findall(r"`(KPI_[A-Z_]+)`", page)) == settings | {"KPI_CACHE_DIR"}


def test_a_setting_is_documented_with_its_default_unit_bounds_and_file() -> None:
    rows = settings_reference.settings_page().splitlines()
    for row in (
        "| `KPI_SESSION_TIMEOUT_S` | `10.0` | s, from 1 up to 300 | ",
        "| `KPI_ATTRIBUTION_LOOKBACK_DAYS` | `7.0` | days, above 0 up to 90 | ",
        "| `KPI_PARTITIONS` | `4` | whole number, from 1 up to 1,000 | ",
        "| `KPI_KAFKA_PASSWORD` |  | secret; or `KPI_KAFKA_PASSWORD_FILE` | ",
        "| `KPI_REDIS` |  | secret; or `KPI_REDIS_PASSWORD_FILE` | ",
        "| `KPI_DATA_DIR` | `data` | folder | ",
        "| `KPI_CUSTOMERS` | `true` | `true`, `false` | ",
    ):
        assert [one for one in rows if one.startswith(row)], row


def test_every_metric_and_kpi_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "metrics.md").read_text()
    named = [kpi.metric for kpi in KPIS] + [
        spec.name + ("_total" if spec.counter else "") for spec in collector.SPECS
    ]
    assert not [name for name in named if f"`{name}`" not in text]
    assert not [kpi.title_zh for kpi in KPIS if kpi.title_zh not in text]


@pytest.mark.parametrize(
    ("kind", "event"),
    [(kind, event) for kind in SHAPES for event in events_of(kind)],
)
def test_every_example_of_an_event_counts(kind: SourceKind, event: type[Event]) -> None:
    job = ingest_job(kind, campaigns=(Campaign(id="618-main"),))
    example = event_reference.example(event)
    job.apply([record(example, offset=0, at=example["event_time"])])
    (report,) = ingest_report.decode(settled(job.snapshot()).outputs[0].value).reports
    stats = report.stats
    assert (stats.dead_letters, stats.unknown, stats.mis_keyed) == ({}, {}, 0)
    assert stats.counted == (0 if event is CompleteThrough else 1)


def test_examples_are_of_types() -> None:
    """No example is of a type of event that does not exist."""
    types = {type_of(event) for kind in SHAPES for event in events_of(kind)}
    assert event_reference.EXAMPLES.keys() <= types


def test_the_readme_begins_with_the_two_commands(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## ")


def test_every_promise_has_its_test(repository: Path) -> None:
    """Each test that field-cases.md names exists; a name without a file is of the last file."""
    named = re.findall(
        r"`(?:(test_\w+)\.)?(test_\w+)`", (repository / "docs/field-cases.md").read_text()
    )
    assert len(named) > 40
    files = {path.stem: path.read_text() for path in (repository / "tests").rglob("test_*.py")}
    file = ""
    for other, name in named:
        file = other or file
        assert re.search(rf"^(async )?def {name}\(", files[file], re.MULTILINE), (file, name)
