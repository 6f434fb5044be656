"""The limits of the data's health are the same everywhere."""

from __future__ import annotations

import re

from models.limits import DEAD_LETTER_SHARE, LAG_S
from tests.support import data


def test_rules_of_prometheus() -> None:
    """Prometheus warns above the limits of the table."""
    rules = (data.repository() / "dashboards" / "prometheus" / "rules.yml").read_text("utf-8")
    (lag,) = re.findall(r"expr: kpi_monitor_lag_seconds > (\S+)", rules)
    (share,) = re.findall(r"\n          \) > (\S+)\n", rules)
    assert (float(lag), float(share)) == (LAG_S.alert, DEAD_LETTER_SHARE.warning)
    assert f"more than {LAG_S.alert} seconds behind" in rules
    assert f"More than {DEAD_LETTER_SHARE.warning * 100:.0f}% of the events" in rules
