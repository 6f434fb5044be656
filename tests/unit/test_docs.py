"""What is documented: every setting, every metric, every KPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.aggregates import ingest_report
from models.campaigns.campaign import Campaign
from models.events import SHAPES, Event, events_of, type_of
from models.kpi.catalogue import KPIS
from models.kpi.measures import SourceKind
from streams.export.metrics import collector
from streams.settings import Settings
from tests.support.at_once import settled
from tests.support.offline import ingest_job, record
from tools import event_reference


def test_every_setting_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`KPI_{name.upper()}`" not in text]
    assert not missing


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
    assert (stats.counted, stats.unknown_campaigns, stats.mis_keyed) == (1, 0, 0)


def test_there_is_an_example_of_every_type_and_no_other() -> None:
    types = [type_of(event) for kind in SHAPES for event in events_of(kind)]
    assert list(event_reference.EXAMPLES) == types


def test_no_field_is_explained_that_is_not_there() -> None:
    text = event_reference.events_page()
    assert not [name for name in event_reference.FIELDS if f"| `{name}` |" not in text]


def test_the_readme_begins_with_the_two_commands(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## ")
