"""What a scrape costs: text is written once for each closed window, and compressed."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from models.kpi.catalogue import CATALOGUE
from models.kpi.user_catalogue import ExportRule, KpiBook
from streams.alerting.rules.registry import RuleBook
from streams.export.metrics.collector import KpiMetrics
from streams.export.metrics.text_format import FORMATS_KEPT, MetricsText
from streams.export.worker_view import WorkerView
from tests.factories.views import queries

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


def text_of(made: MetricsText, accept: str = "") -> str:
    return made.answer(accept=accept, accept_encoding="").body.decode()


def series(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_default_is_small(view: WorkerView) -> None:
    """Without a file, three campaigns and six channels are a few thousand series."""
    small = series(text_of(MetricsText(lambda: view, queries())))
    everything = KpiBook(export=(ExportRule(),))
    large = series(text_of(MetricsText(lambda: view, queries(kpis=everything))))
    assert 2_000 < len(small) < 6_000 < len(large)
    assert any(re.match(r'kpi_roas_ratio{.*scope="channel".*window="week"', one) for one in small)
    assert not any(re.match(r'kpi_(?!monitor).*scope="campaign_region"', one) for one in small)


def test_rules_are_exported(view: WorkerView) -> None:
    """What an alert rule is about is exported, whatever the file says."""
    rule = {
        "name": "r",
        "kind": "threshold",
        "kpi": "ctr",
        "scope": "region",
        "window": "1h",
        "below": 0.1,
    }
    rules = RuleBook.model_validate({"rules": [rule]})
    text = text_of(MetricsText(lambda: view, queries(rules=rules)))
    assert re.search(r'^kpi_ctr_ratio{.*scope="region".*window="1h"', text, re.MULTILINE)
    assert not re.search(r'^kpi_ctr_ratio{.*scope="region".*window="day"', text, re.MULTILINE)


def test_gzip(view: WorkerView) -> None:
    """A scraper that takes gzip gets a tenth of the bytes, and the same text."""
    made = MetricsText(lambda: view, queries())
    plain = made.answer(accept="", accept_encoding="identity")
    packed = made.answer(accept="", accept_encoding="gzip, deflate")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.body) * 5 < len(plain.body)
    names = [
        set(map(_name, series(body.decode())))
        for body in (plain.body, gzip.decompress(packed.body))
    ]
    assert names[0] == names[1]


def _name(line: str) -> str:
    return line.rpartition(" ")[0]


@pytest.mark.parametrize(
    ("accept", "parse"), [("", plain_text), (OPEN_METRICS, open_metrics)], ids=["plain", "open"]
)
def test_formats(view: WorkerView, accept: str, parse: Callable[[str], Any]) -> None:
    """Both formats are read by the library's own parsers, and every family comes once."""
    text = text_of(MetricsText(lambda: view, queries()), accept)
    families = [family.name for family in parse(text)]
    assert len(families) == len(set(families))
    assert {kpi.metric for kpi in CATALOGUE.values() if not kpi.looks_back} <= set(families)
    assert text.endswith("# EOF\n") == bool(accept)


def test_written_once(view: WorkerView, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second scrape writes no window again; a window that closed since is written alone."""
    shown = [view]
    made = MetricsText(lambda: shown[0], queries())
    first = text_of(made)
    written: list[str] = []
    of_window = KpiMetrics.of_window

    def noted(metrics: KpiMetrics, rows: Any) -> Any:
        written.extend({row.evaluation.window for row in rows})
        return of_window(metrics, rows)

    monkeypatch.setattr(KpiMetrics, "of_window", noted)
    assert _without_process(text_of(made)) == _without_process(first)
    assert written == []
    assert view.kpis is not None
    newer = replace(view.kpis.latest["1m"], end_ms=view.kpis.latest["1m"].end_ms + 10_000)
    latest = {**view.kpis.latest, "1m": newer}
    shown[0] = replace(view, kpis=replace(view.kpis, latest=latest))
    assert _without_process(text_of(made)) == _without_process(first)
    assert written == ["1m"]


def _without_process(text: str) -> list[str]:
    return [line for line in series(text) if not line.startswith("process_")]


def test_limit_depends_on_all(view: WorkerView) -> None:
    """Where not everything fits, what is written of a window follows what fits now."""
    made = MetricsText(lambda: view, queries(largest_series_count=600))
    text = text_of(made)
    exported = re.findall(r"^kpi_monitor_series_exported (.*)$", text, re.MULTILINE)
    metrics = {
        name
        for kpi in CATALOGUE.values()
        for name in (kpi.metric, f"{kpi.metric}_lower", f"{kpi.metric}_upper", f"kpi_{kpi.name}_n")
    }
    about_scopes = r"kpi_(scorecard|funnel)_|kpi_monitor_(effect|peer_z|reference|change_)"
    kpis = [
        one
        for one in series(text)
        if one.partition("{")[0] in metrics or re.match(about_scopes, one)
    ]
    assert float(exported[0]) == len(kpis) <= 600


def test_formats_are_bounded(view: WorkerView) -> None:
    """What is kept of texts does not grow with the versions that somebody asks for."""
    made = MetricsText(lambda: view, queries())
    for number in range(10):
        text_of(made, f"application/openmetrics-text;version=1.0.0.{number}")
    # How many caches are held shows in no answer, only in memory.
    assert len(made._memos) <= FORMATS_KEPT
