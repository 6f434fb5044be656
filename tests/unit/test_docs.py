"""What is documented: every setting, every metric, every KPI."""

from __future__ import annotations

from pathlib import Path

from models.kpis import KPIS
from streams.export import collector
from streams.settings import Settings


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


def test_the_readme_begins_with_the_two_commands(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    assert text.index("make demo") < text.index("make test") < text.index("## ")
