"""Names as people see them: on the live page, in metrics and on the boards."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dashboards.queries import QUERIES, substitute
from models.campaigns.campaign import Campaign
from models.names import NameBook
from models.scope import BUCKETS, Scope
from streams.export.page.snapshot import live
from streams.export.worker_view import WorkerView
from streams.ingest.registry.campaign_index import CampaignIndex
from tests.factories.views import metrics, queries, worker
from tests.support.offline import NOON, RULES, Path, event, ingest_job

LONG_NAME = "Everything must go " * 10
CAMPAIGNS = (
    Campaign.model_validate(
        {
            "id": "c1",
            "name": "Black Friday",
            "stages": [
                {"name": "预热", "starts": "2023-11-14T11:00:00Z"},
                {"name": "later", "starts": "2023-11-15T12:00:00Z"},
            ],
        }
    ),
    Campaign(id="c2", name=LONG_NAME),
    Campaign(id="other"),
)
BOOK = NameBook.model_validate({"channels": [{"name": "search", "aliases": ["SEM"]}]})


@pytest.fixture(scope="module")
def view() -> WorkerView:
    """A worker that read clicks with unknown names, aliases and guests."""
    path = Path(campaigns=CAMPAIGNS, now_ms=NOON)
    rules = replace(RULES, names=BOOK)
    path.sources["clicks", 0] = ingest_job("clicks", campaigns=CAMPAIGNS, rules=rules)
    told = [
        {"channel": "sem"},
        {"channel": 'tv "live"', "campaign_id": "c2"},
        {"channel": 'TV "live"', "campaign_id": "other"},
        {"channel": "", "campaign_id": "nobody knows it"},
        {"channel": "radio", "campaign_id": None, "user_id": "0"},
    ]
    path.feed([event(at=NOON + n, event_id=str(n), **one) for n, one in enumerate(told)])
    path.finish()
    *_, shown = path.linger(30)
    return worker(shown)


def samples(text: str, name: str) -> list[dict[str, str]]:
    """The labels of a metric's samples that are not 0."""
    return [
        one.labels
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == name and one.value
    ]


def test_unknown(view: WorkerView) -> None:
    """Unknown names are told with their number and samples, the newest first."""
    exports = queries(campaign_of=CampaignIndex(CAMPAIGNS).get)
    told = json.loads(json.dumps(live(view, exports)))
    assert told["unknown"] == {
        "campaign": {"events": 1, "samples": ["nobody knows it"]},
        "channel": {"events": 3, "samples": ["radio", 'tv "live"']},
    }
    assert (told["health"]["guests"], told["health"]["renamed"]) == (1, 2)
    text = metrics(view, exports)
    assert {tuple(one.values()) for one in samples(text, "kpi_monitor_unknown_name_sample")} == {
        ("campaign", "nobody knows it"),
        ("channel", "radio"),
        ("channel", 'tv "live"'),
    }
    assert {tuple(one.values()) for one in samples(text, "kpi_monitor_renamed_total")} == {
        ("alias", "channel", "clicks"),
        ("spelling", "channel", "clicks"),
    }
    assert samples(text, "kpi_monitor_unknown_names_total") == [
        {"topic": "clicks", "kind": "campaign"},
        {"topic": "clicks", "kind": "channel"},
    ]
    assert samples(text, "kpi_monitor_guest_events_total") == [{"topic": "clicks"}]


def test_campaigns_by_name(view: WorkerView) -> None:
    """Campaigns and phases are shown by name with the id beside, long names shortened."""
    exports = queries(campaign_of=CampaignIndex(CAMPAIGNS).get)
    shown = {one["campaign"]: one for one in live(view, exports)["campaigns"]}
    assert (shown["c1"]["name"], shown["c1"]["phase"]) == ("Black Friday", "预热")
    assert shown["c2"]["name"].startswith(LONG_NAME[:91] + "~")
    assert (shown["other"]["name"], shown["(unknown)"]["name"]) == ("other", "(unknown)")
    assert exports.text_of(Scope("campaign_channel", "c1", "search")) == (
        "campaign=Black Friday (c1), channel=search"
    )
    assert exports.text_of(Scope("channel", channel="tv")) == "channel=tv"
    info = {one["campaign"]: one for one in samples(metrics(view, exports), INFO)}
    assert info["c1"] == {"campaign": "c1", "name": "Black Friday", "phase": "预热"}
    assert info.keys() == {"c1", "c2", "other"}


INFO = "kpi_monitor_campaign_info"


@pytest.mark.parametrize("bucket", sorted(BUCKETS))
def test_chosen_bucket(bucket: str) -> None:
    """A bucket that is chosen on a board is matched as it is: brackets are escaped."""
    expr = substitute(QUERIES["campaign.clicks"].expr, campaign=(bucket, "a+b"))
    (pattern,) = re.findall(r'campaign=~"(.*?)"', expr)
    matcher = re.compile(json.loads(f'"{pattern}"'))
    assert matcher.fullmatch(bucket)
    assert matcher.fullmatch("a+b")
    assert not matcher.fullmatch(bucket.strip("()"))
