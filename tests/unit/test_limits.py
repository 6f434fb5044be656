"""The limits of the data's health are the same everywhere."""

from __future__ import annotations

import re

import yaml

from models.limits import DEAD_LETTER_SHARE, LAG_S
from streams.alerting.rules.health import HOLDING
from tests.support import data


def test_rules_of_prometheus() -> None:
    """Prometheus warns above the limits of the table."""
    rules = (data.repository() / "dashboards" / "prometheus" / "rules.yml").read_text("utf-8")
    (lag,) = re.findall(r"expr: kpi_monitor_lag_seconds > (\S+)", rules)
    (share,) = re.findall(r"\n          \) > (\S+)\n", rules)
    assert (float(lag), float(share)) == (LAG_S.alert, DEAD_LETTER_SHARE.warning)
    assert f"more than {LAG_S.alert} seconds behind" in rules
    assert f"More than {DEAD_LETTER_SHARE.warning * 100:.0f}% of the events" in rules


def test_alertmanager_mutes_what_is_held() -> None:
    """Alertmanager mutes KPI alerts while those alerts fire during which no window is judged."""
    text = (data.repository() / "deploy" / "alertmanager.yml").read_text("utf-8")
    (rule,) = yaml.safe_load(text)["inhibit_rules"]
    (source,) = rule["source_matchers"]
    assert set(re.findall(r"data-[a-z-]+", source)) == HOLDING
