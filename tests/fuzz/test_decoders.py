"""No input stops a decoder with anything but the error that it promises."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import dead_letters
from models.aggregates import ingest_report
from models.aggregates.ingest_report import Report, SourceStats
from models.campaigns.campaign import Campaign, CampaignBook
from models.dead_letters import DeadLetter, Reason
from models.kpi import formula
from models.kpi.formula import FormulaError
from streams import config
from streams.alerting.rules.registry import RuleBook
from streams.engine import state_log
from streams.engine.contracts import Output, Snapshot, SourcePartition
from streams.engine.state_log import StateLog
from streams.errors import ConfigError, FeedError, StateError
from streams.feed.events.file_set import FileSet
from streams.feed.events.mapped_file import MappedFile
from streams.feed.mapping.mapping_file import FileMapping
from streams.feed.sending import records
from streams.ingest.events.decoding import EventDecoder, Rejected
from tests.factories.feed import TOPICS
from tests.support.at_once import settled
from tests.support.fuzzing import edits, fuzzed, json_values
from tests.support.offline import NOON, event, ingest_job, record

KINDS = {"clicks": "click", "orders": "order_placed", "campaigns": "spend_reported"}


@pytest.mark.parametrize("kind", KINDS)
@fuzzed
@given(st.data())
def test_a_record_is_an_event_or_a_reason(kind: str, data: st.DataObject) -> None:
    valid = json.dumps(event(KINDS[kind], region="华东", currency="CNY", amount="1.5")).encode()
    value = data.draw(edits(valid) | st.binary(max_size=200))
    decoded = EventDecoder(kind, largest_bytes=150).decode(value)
    if isinstance(decoded, Rejected):
        assert decoded.reason in Reason
        return
    assert decoded.event_id


@fuzzed
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *("event_id", "event_time", "user_id", "campaign_id", "campaign", "channel"),
                    *("amount", "currency", "count", "type", "order_id", "dwell_ms", "aliases"),
                ]
            ),
            json_values,
        ),
        max_size=3,
    ),
    st.binary(max_size=6) | st.none(),
)
def test_every_record_is_counted_once_as_something(
    kind: str, changes: list[tuple[str, object]], key: bytes | None
) -> None:
    job = ingest_job(kind)
    body = event(KINDS[kind], currency="CNY", amount="1.5") | dict(changes)
    job.apply([record(json.dumps(body).encode(), offset=4)._replace(key=key)])
    (report,) = ingest_report.decode(settled(job.snapshot()).outputs[0].value).reports
    stats = report.stats
    assert stats.records == 1 == stats.counted + sum(stats.dead_letters.values())


REPORT = ingest_report.encode(
    [
        Report(
            topic="clicks",
            partition=1,
            epoch=3,
            from_offset=4,
            to_offset=9,
            read_up_to_ms=NOON,
            watermark_ms=NOON,
            idle=False,
            stats=SourceStats(records=5, counted=4, dead_letters={"empty": 1}),
            panes={NOON: [("c1", "search", ([0] * 13, b"", b""))]},
        )
    ]
)


@fuzzed
@given(edits(REPORT) | st.binary(max_size=200))
def test_a_report_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        ingest_report.decode(value)


LETTER = dead_letters.encode(
    DeadLetter(
        topic="clicks",
        partition=0,
        offset=7,
        appended_ms=NOON,
        reason=Reason.EMPTY,
        detail="none",
        key=b"k",
        value=b"v",
    )
)


@fuzzed
@given(edits(LETTER) | st.binary(max_size=200))
def test_a_dead_letter_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        dead_letters.decode(value)


SOURCE = SourcePartition("clicks", 3)


def stored() -> list[tuple[bytes, bytes]]:
    snapshot = Snapshot(
        state=b"state",
        segments=[(b"ids/1", b"a")],
        outputs=[Output(topic="t", key=b"k", value=b"v", partition=0)],
    )
    made = StateLog(SOURCE, 5).checkpoint(snapshot, offset=42)
    return [(key, value) for key, value in (*made.segments, made.head) if value is not None]


@fuzzed
@given(st.data())
def test_a_state_is_read_or_refused(data: st.DataObject) -> None:
    items = stored()
    at = data.draw(st.integers(0, len(items) - 1))
    key, value = items[at]
    items[at] = (
        (data.draw(edits(key)), value)
        if data.draw(st.booleans())
        else (key, data.draw(edits(value)))
    )
    with contextlib.suppress(StateError):
        state_log.read(items, source=SOURCE, generation=1)


CAMPAIGN = Campaign(id="c1", name="First", aliases=("第一",)).model_dump_json().encode()


@fuzzed
@given(edits(CAMPAIGN) | st.binary(max_size=120))
def test_a_definition_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(ValueError):
        Campaign.model_validate_json(value)


FILES = {
    "rules": (
        RuleBook,
        b"rules:\n  - {name: r, kind: threshold, kpi: clicks, window: 1m, below: 10}\n",
    ),
    "campaigns": (CampaignBook, "campaigns:\n  - id: c1\n    aliases: [第一]\n".encode()),
    "mapping": (
        FileMapping,
        b"time: {value: '{t}', format: '%d.%m.%Y', zone: UTC}\nnumbers: {decimal: ','}\nevents:\n"
        b"  - {type: click, when: {e: {glob: 'p*'}, n: {above: 1}}, fields: {user_id: '{u}', "
        b"page: {value: '{p}', split: /, part: 2, lookup: {a: b}}}}\n",
    ),
}


@pytest.mark.parametrize("name", FILES)
@fuzzed
@given(st.data())
def test_config_file_is_read_or_refused(name: str, tmp_path: Path, data: st.DataObject) -> None:
    """Any bytes in a configuration file are read, or refused with the file's name."""
    model, valid = FILES[name]
    file = tmp_path / "file.yaml"
    file.write_bytes(data.draw(edits(valid) | st.binary(max_size=80)))
    refusal = ""
    try:
        config.load(file, model)
    except ConfigError as error:
        refusal = str(error)
    assert not refusal or str(file) in refusal


@fuzzed
@given(edits(b"100 * (orders - previous(orders)) / (clicks + visits)") | st.binary(max_size=80))
def test_a_formula_is_read_or_refused(value: bytes) -> None:
    with contextlib.suppress(FormulaError):
        formula.parse(value.decode(errors="surrogateescape"))


LOG = {
    "csv": "t,e,u,p,l\n1700000000000,pay,u1,3,/a?x=1\n1700000000001,view,ü2,,\n".encode(),
    "ndjson": b'{"t":1700000000000,"e":"pay","u":"u1","p":2.0}\n{"t":1,"u":null,"p":[1]}\n',
    "gz": gzip.compress(b"t,e,u,p,l\n1700000000000,pay,u1,3,/a?x=1\n"),
    "parquet": b"PAR1",
}
LOG_MAPPING = """\
time: {value: "{t}", format: epoch_ms}
leave_out: {e: view}
events:
  - type: visit
    when: [{p: {at_least: 1}}, {e: {regex: "p.*"}}]
    fields:
      user_id: {value: "{u}", hash: true}
      pages: {value: "{p}", absolute: true}
      channel: {value: "{e}", lookup: {p*: paid}, keep_others: true}
"""


@pytest.mark.parametrize("ending", LOG)
@fuzzed
@given(st.data())
def test_a_log_is_read_or_refused(ending: str, data: st.DataObject) -> None:
    """Each row of any file becomes a record that can be read, is left out, or is refused."""
    with tempfile.TemporaryDirectory() as folder:
        log, mapping = Path(folder) / f"log.{ending}", Path(folder) / "map.yaml"
        log.write_bytes(data.draw(edits(LOG[ending]) | st.binary(max_size=80)))
        mapping.write_text(LOG_MAPPING)
        rows = MappedFile(
            log,
            mapping,
            largest_bytes=900_000,
            refused_path=log.with_suffix(".refused"),
            hash_key=lambda: b"k" * 16,
        )
        decoder = EventDecoder("clicks", largest_bytes=900_000)
        report = rows.report
        with contextlib.suppress(FeedError):
            rows.read()
            assert report.rows == (
                report.mapped_rows + report.left_out + report.unmatched + report.refused
            )
            for record in records(FileSet(rows.path, [rows]).events(), TOPICS):
                assert not isinstance(decoder.decode(record.value), Rejected)
        assert report.refused_path.exists() == (report.refused > 0)
        if report.refused:
            assert len(report.refused_path.read_text().splitlines()) == report.refused
