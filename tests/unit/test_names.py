"""Names: which are the same, how they are shown, and what is told of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregates.ingest_report import Report
from models.alerts import alert_id
from models.campaigns.campaign import Campaign
from models.kpi.measures import SUM_INDEX, USER_SETS
from models.names import NameBook, canonical, matches_name, names_nothing, shortened
from models.scope import BUCKETS, Scope
from models.scorecards.scorecard import ScorecardBook
from streams import config, settings
from streams.alerting.rules.registry import RuleBook
from streams.assembly.names import as_shown_by
from streams.errors import ConfigError
from streams.ingest.events import named_places
from streams.ingest.events.named_places import NamedPlaces
from streams.ingest.job import IngestJob
from streams.ingest.registry.campaign_index import CampaignIndex
from tests.factories.reports import apply, letters, reported
from tests.support.cells import from_wire
from tests.support.offline import CAMPAIGNS, NOON, RULES, event, ingest_job, record

LONG = "Summer sale, all stores, " * 40
BOOK = NameBook.model_validate(
    {
        "channels": [{"name": "Paid search", "aliases": ["SEM", "cpc"]}, {"name": "搜索"}],
        "regions": [{"name": "East", "aliases": ["华东"]}],
    }
)
_texts = st.text(st.sampled_from("aB %+25fF0３％\u200b\u00a0\u00dfé中\t")) | st.text(max_size=30)


def job(kind: str = "clicks", book: NameBook = BOOK) -> IngestJob:
    rules = replace(RULES, names=book, guests=settings.Settings().guests)
    return ingest_job(kind, rules=rules)


def counted(report: Report, part: str, measure: str = "clicks") -> dict[str, int]:
    """The sum of a measure by one part of the facets in a report."""
    found: dict[str, int] = {}
    for rows in report.panes.values():
        for row in rows:
            in_facet = part in {"region", "segment"} or not row.region + row.segment
            if (name := getattr(row, part)) and in_facet:
                found[name] = found.get(name, 0) + row.cell.sums[SUM_INDEX[measure]]
    return found


def clicks(*bodies: dict[str, Any], book: NameBook = BOOK) -> Report:
    """The report of clicks."""
    of = job(book=book)
    apply(of, *(event(event_id=str(number), **body) for number, body in enumerate(bodies)))
    return reported(of.snapshot())


@pytest.mark.parametrize(
    ("told", "form"),
    [
        *(
            (told, "search")
            for told in ("Search", " search\n", "ｓｅａｒｃｈ", "sea%72ch", "SEA%2572CH")
        ),
        *((told, "search") for told in ("sea\u200brch", "\ufeffsearch", "sea\u00adrch")),
        *((told, "black friday") for told in ("Black+Friday", "black%20friday")),
        ("BLACK \t friday", "black friday"),
        ("black%2Bfriday", "black friday"),
        ("C++", "c++"),
        ("a + b", "a + b"),
        ("100%", "100%"),
        ("50%off", "50%off"),
        ("%E6%90%9C%E7%B4%A2", "搜索"),
        ("caf%C3%A9", "café"),
        ("cafe\u0301", "café"),
        ("caf%E9", "caf%e9"),
        ("%2%35", "%"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("\u3000", ""),
        ("%20%00", ""),
    ],
)
def test_canonical(told: str, form: str) -> None:
    """One form of a name, however it is written."""
    assert canonical(told) == form


@given(_texts)
def test_canonical_again(told: str) -> None:
    """The canonical form of a canonical form is itself, so that what is shown can be configured."""
    assert canonical(canonical(told)) == canonical(told)


def test_decoding_is_linear() -> None:
    """A name that was made to be decoded again and again takes no time."""
    assert canonical("%3" * 200_000 + "5") == "5"
    assert len(canonical("%" + "25" * 200_000)) == 1


def test_shortened() -> None:
    """A long name is shortened to 100 characters, and two that begin alike stay different."""
    one, other = shortened(LONG + "a"), shortened(LONG + "b")
    assert (len(one), one[:91], one[91]) == (100, LONG[:91], "~")
    assert int(one[92:], 16) >= 0
    assert one != other
    assert shortened(LONG + "a") == one
    assert shortened("x" * 100) == "x" * 100


def test_one_channel() -> None:
    """Spellings of a name are one channel, shown alike whichever comes first."""
    spellings = ["Search", " search", "ｓｅａｒｃｈ", "sea%72ch", "search"]
    for number in range(5):
        random.Random(number).shuffle(spellings)
        report = clicks(*({"channel": one, "region": one} for one in spellings), book=NameBook())
        assert counted(report, "channel") == {"search": 5}
        assert counted(report, "region") == {"search": 5}
        assert report.stats.renamed == {"channel/spelling": 4, "region/spelling": 4}
        assert report.stats.unknown == {}


def test_defined() -> None:
    """A defined name is shown as it is defined, also by its aliases; others are unknown."""
    told = ["Paid search", "paid+search", "sem", "CPC", "搜索", "TV", "tv", ""]
    report = clicks(*({"channel": one, "segment": one} for one in told))
    assert counted(report, "channel") == {"Paid search": 4, "搜索": 1, "tv": 2, "(none)": 1}
    assert counted(report, "segment") == {"paid search": 2, "sem": 1, "cpc": 1, "搜索": 1, "tv": 2}
    assert report.stats.renamed == {
        "channel/spelling": 2,
        "channel/alias": 2,
        "segment/spelling": 4,
    }
    assert report.stats.unknown == {"channel": 2}
    assert report.stats.unknown_samples == {"channel": ["tv"]}


def test_long_names() -> None:
    """Events with long names count, under shortened names, and are counted as such."""
    long, longer = LONG.casefold().strip() + " a", LONG.casefold().strip() + " b"
    report = clicks(
        {"channel": LONG + "A", "region": LONG + "A", "segment": LONG + "A"},
        {"channel": LONG + "B", "campaign_id": None, "campaign": LONG},
    )
    assert report.stats.dead_letters == {}
    assert counted(report, "channel") == {shortened(long): 1, shortened(longer): 1}
    assert counted(report, "campaign")["(unknown)"] == 1
    renamed = {"channel/shortened": 2, "region/shortened": 1, "segment/shortened": 1}
    assert report.stats.renamed == renamed
    assert report.stats.unknown_samples["campaign"] == [shortened(LONG.casefold().strip())]


def test_long_campaign_name() -> None:
    """A campaign is found by a name of more than 100 characters."""
    of = ingest_job(campaigns=[Campaign(id="c7", name=LONG)])
    apply(of, event(campaign_id=None, campaign=LONG.upper()))
    assert counted(reported(of.snapshot()), "campaign") == {"c7": 1}


def test_long_change() -> None:
    """A change is told even if its texts are long; they are shortened."""
    of = ingest_job("campaigns")
    apply(of, event("campaign_changed", what=LONG, who=LONG, to=LONG + LONG))
    (output,) = of.snapshot().early_outputs
    change = json.loads(output.value)
    lengths = [len(change[name]) for name in ("what", "who", "to_value")]
    assert lengths == [100, 100, 1_000]


def test_campaign_names() -> None:
    """Ids are compared as names are; an exact id wins, and what is shared identifies neither."""
    index = CampaignIndex(
        [
            Campaign(id="C1", name="Black Friday", aliases=("BF",)),
            Campaign(id="c1", name="Other"),
            Campaign(id="618-Main", name="618", aliases=("bf2",)),
            Campaign(id="bf2", name="Second"),
        ]
    )
    found = {told: index.find(told) for told in ("C1", "c1", "Ｃ１", "618-main", "BF2", "nobody")}
    assert {told: one.campaign for told, one in found.items()} == {
        "C1": "C1",
        "c1": "c1",
        "Ｃ１": "(unknown)",
        "618-main": "618-Main",
        "BF2": "bf2",
        "nobody": "(unknown)",
    }
    assert index.find("black+friday") == ("C1", "spelling")
    assert index.find("bf") == ("C1", "alias")
    assert index.find("Black Friday") == ("C1", None)
    assert index.find("(not set)", None, "other") == ("c1", "spelling")


def test_redefined() -> None:
    """A campaign that is defined anew is no longer found by its former names, at once."""
    of = job("campaigns")
    spend = {"amount": "1", "currency": "CNY", "campaign_id": "Old name"}
    for number, name in enumerate(("Old name", "New name")):
        apply(
            of,
            event("campaign_defined", event_id=f"d{number}", campaign_id="c7", name=name),
            event("spend_reported", event_id=f"s{number}", **spend),
            first=2 * number,
        )
    assert counted(reported(of.snapshot()), "campaign", "spend_reports") == {
        "c7": 1,
        "(unknown)": 1,
    }


@pytest.mark.parametrize("told", [*sorted(BUCKETS), "(Not Set)", " (none) ", "（none）", "%20", ""])
def test_no_name(told: str) -> None:
    """The monitor's buckets and what stands for no name name nothing, wherever they are written."""
    report = clicks({"channel": told, "region": told, "segment": told, "campaign_id": told})
    assert counted(report, "channel") == {"(none)": 1}
    assert counted(report, "campaign") == {"(none)": 1}
    assert counted(report, "region") == counted(report, "segment") == {}
    assert report.stats.unknown == {}


def test_no_id_but_a_name() -> None:
    """An id that stands for nothing does not hide the name beside it."""
    report = clicks({"campaign_id": "(not set)", "campaign": "first"})
    assert counted(report, "campaign") == {"c1": 1}


@pytest.mark.parametrize("name", ["none", "unknown", "other", "direct"])
def test_ordinary_names(name: str) -> None:
    """A campaign or channel of such a name is not mixed with events that have none."""
    of = ingest_job(campaigns=[*CAMPAIGNS, Campaign(id=name)])
    apply(
        of,
        event(event_id="1", campaign_id=name, channel=name),
        event(event_id="2", campaign_id="nobody", channel=""),
        event(event_id="3", campaign_id=None, channel=""),
    )
    report = reported(of.snapshot())
    assert counted(report, "campaign") == {name: 1, "(unknown)": 1, "(none)": 1}
    assert counted(report, "channel") == {name: 1, "(none)": 2}


def test_no_campaign_is_a_bucket() -> None:
    """A campaign with the id of a bucket is refused, with the reason."""
    of = ingest_job("campaigns")
    apply(of, event("campaign_defined", campaign_id="(Other)", name="x"))
    (letter,) = letters(of.snapshot())
    assert letter.reason == "invalid_shape"
    assert "(Other)" in letter.detail


@given(st.lists(_texts, max_size=4), _texts)
def test_order_of_names(before: Sequence[str], told: str) -> None:
    """How a name is shown does not depend on the names before it."""
    places = NamedPlaces(BOOK, CampaignIndex(CAMPAIGNS))
    for one in before:
        places[one, None, one, one, one]
    alone = NamedPlaces(BOOK, CampaignIndex(CAMPAIGNS))
    again = places[told, told, told, told, told]
    assert again == alone[told, told, told, told, told] == places[told, told, told, told, told]
    shown = [part for part in again[0][1:] if part]
    assert all(len(part) <= 100 and part not in BUCKETS for part in shown)


def test_kept_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many combinations of names are kept, and none that is long."""
    monkeypatch.setattr(named_places, "KEPT", 10)
    places = NamedPlaces(BOOK, CampaignIndex(CAMPAIGNS))
    for number in range(25):
        assert places["c1", None, f"n{number}", "", None][0] == ("c1", f"n{number}", "", "")
    assert len(places) <= 10
    size = len(places)
    assert places["c1", None, LONG, "", None][0][1] == shortened(canonical(LONG))
    assert places[LONG, None, "", "", None][1][0].name == shortened(canonical(LONG))
    assert len(places) == size


# ---- guests

GUESTS = ["0", "", None, "guest", "GUEST", "Anonymous", "NULL", "None", "NaN", "-"]


@pytest.mark.parametrize("guest", GUESTS)
@pytest.mark.parametrize("customers", [False, True])
def test_guest_order(guest: str | None, customers: bool) -> None:
    """An order of a guest counts where it says, and is of no buyer and no customer."""
    from tests.support.customers import context

    of = ingest_job(
        "orders",
        rules=replace(RULES, guests=settings.Settings().guests),
        customers=context() if customers else None,
    )
    order = event("order_placed", campaign_id="c1", user_id=guest, items=2)
    of.apply([record(order, offset=0)._replace(key=b"whoever")])
    report = reported(of.snapshot())
    (row,) = report.panes[NOON]
    cell = from_wire(row.cell)
    assert (row.campaign, row.channel) == ("c1", "search")
    sums = {name: cell.sums[SUM_INDEX[name]] for name in ("orders", "revenue_gross", "items")}
    assert sums == {"orders": 1, "revenue_gross": 1_000_000, "items": 2}
    assert [users.estimate for users in cell.users] == [0] * len(USER_SETS)
    assert cell.sums[SUM_INDEX["orders_attributed"]] == 0
    assert (report.stats.counted, report.stats.guests, report.stats.mis_keyed) == (1, 1, 0)


def test_guest_field_absent() -> None:
    """An event without the field of the user is one of a guest."""
    body = event()
    del body["user_id"]
    of = job()
    apply(of, body, event(event_id="2", user_id="u2"))
    report = reported(of.snapshot())
    assert (report.stats.counted, report.stats.guests) == (2, 1)
    (row,) = report.panes[NOON]
    assert sum(users.estimate for users in from_wire(row.cell).users) == 1


def test_guest_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting says which ids are guests; a campaign may have any of them."""
    monkeypatch.setenv("KPI_GUEST_IDS", "walk-in, 99")
    guests = settings.Settings().guests
    assert {"walk-in", "WALK-IN", "99", "", None} <= guests
    assert "0" not in guests
    of = ingest_job("campaigns", campaigns=[Campaign(id="0")])
    apply(of, event("spend_reported", campaign_id="0", amount="1", currency="CNY"))
    assert counted(reported(of.snapshot()), "campaign", "spend_reports") == {"0": 1}


# ---- configuration


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        (
            "channels:\n  - {name: Search, aliases: [sem]}\n  - {name: TV, aliases: [ＳＥＭ]}\n",
            "line 3",
            "channels: name 'sem' is given already, in line 2",
        ),
        (
            "regions:\n  - name: East\n  - name: 华\n    aliases:\n      - 华东\n      - ' east'\n",
            "line 6",
            "regions: name 'east' is given already, in line 2",
        ),
        ("segments:\n  - name: (none)\n", "line 2: segments[0].name", "stands for no name"),
        ("channels:\n  - {name: a, alias: b}\n", "line 2: channels[0].alias", "no such key"),
        (f"channels:\n  - name: {'x' * 101}\n", "line 2: channels[0].name", "at most 100"),
        ("chanels: []\n", "line 1: chanels", "did you mean channels?"),
    ],
)
def test_wrong_names_file(tmp_path: Path, text: str, where: str, why: str) -> None:
    """A file of names with a fault is refused, with file, line and key."""
    path = tmp_path / "names.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        config.load_names(path)
    assert error.value.source == str(path)
    assert error.value.where == where
    assert why in error.value.why


def test_shared_campaign_name(tmp_path: Path) -> None:
    """Two campaigns of a file with one name are refused; a name like the own id is not."""
    path = tmp_path / "campaigns.yaml"
    path.write_text("campaigns:\n  - {id: c1, name: C1}\n  - {id: c2, aliases: [Ｃ1]}\n")
    with pytest.raises(ConfigError, match=r"line 3.*campaigns: name 'c1' is given already.*line 2"):
        config.load_campaigns(path)
    path.write_text("campaigns:\n  - {id: c1, name: C1, aliases: [c1]}\n")
    assert len(config.load_campaigns(path).campaigns) == 1


def test_example_file(repository: Path) -> None:
    """The example file of names is valid."""
    book = config.load_names(repository / "config" / "names.yaml")
    assert book.channels
    assert book.shown("channel", "SEM").name == "search"


def test_names_in_rules() -> None:
    """Names in rules and scorecards are brought into the form that is shown; patterns match."""
    as_shown = as_shown_by(BOOK, CampaignIndex([Campaign(id="c7", name="Seventh")]))
    rule = {"name": "r", "kind": "threshold", "kpi": "clicks", "scope": "campaign_channel"}
    match = {"campaign": ["Ｓeventh", "C7", "(unknown)"], "channel": ["sem", "TV", "Paid*"]}
    book = RuleBook.model_validate({"rules": [rule | {"above": 1, "match": match}]})
    (shown,) = book.shown(as_shown).rules
    assert shown.match.campaign == ("c7", "(unknown)")
    assert shown.match.channel == ("Paid search", "tv", "Paid*")
    for channel in ("Paid search", "tv", "paid social"):
        assert shown.match.matches(Scope("campaign_channel", "c7", channel))
    assert not shown.match.matches(Scope("campaign_channel", "c8", "tv"))


def test_names_in_scorecards() -> None:
    """A scorecard of a channel finds it by its alias."""
    indicator = {"kpi": "ctr", "base": 0.1, "stretch": 0.2}
    dimension = {
        "name": "d",
        "title_en": "D",
        "title_zh": "D",
        "indicators": [indicator],
        "weight": 1,
    }
    card = {
        **{"name": "card", "title_en": "C", "title_zh": "C", "owner": "o"},
        **{
            "scope": "channel",
            "match": ["SEM"],
            "dimensions": [dimension | {"indicators": [indicator]}],
        },
    }
    book = ScorecardBook.model_validate({"scorecards": [card]}).shown(
        as_shown_by(BOOK, CampaignIndex())
    )
    assert book.scorecards[0].scopes([]) == (Scope("channel", channel="Paid search"),)


def test_alert_ids() -> None:
    """Two scopes have two ids of alerts, also if their names have a slash."""
    one, other = (
        alert_id("r", Scope("campaign_channel", campaign, channel))
        for campaign, channel in (("a/b", "c"), ("a", "b/c"))
    )
    assert one != other
    assert alert_id("r", Scope("channel", channel="search")) == "r/channel//search"


def test_patterns() -> None:
    """Patterns match shown names whatever their case and width; other names are themselves."""
    assert matches_name("Paid search", ("paid*",))
    assert matches_name("paid social", ("ＰＡＩＤ?S*",))
    assert matches_name("[search] brand", ("[Search] Brand",))
    assert not matches_name("search", ("sea",))


@given(st.text("aB*?[", max_size=4), st.lists(st.text("Ab*?[", max_size=4), max_size=5))
def test_several_patterns(name: str, patterns: list[str]) -> None:
    """A name is matched by several patterns if one of them matches it."""
    one_by_one = [matches_name(name, (pattern,)) for pattern in patterns]
    assert matches_name(name, tuple(patterns)) is any(one_by_one)


def test_reserved() -> None:
    """Every bucket stands for no name, and is written in brackets."""
    assert all(names_nothing(bucket) for bucket in BUCKETS)
    assert all(bucket == canonical(bucket) == f"({bucket[1:-1]})" for bucket in BUCKETS)
