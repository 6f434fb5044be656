"""Sending of a file: nothing before it fits, where it stopped, how it continues, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from rich.console import Console
from typer.testing import CliRunner

from models.window import whole_quarter
from streams import settings
from streams.assembly import topics
from streams.cli import cli
from streams.errors import ConfigError, FeedError
from streams.feed import sending
from streams.feed.events.file_set import FileSet
from streams.operations import producer
from streams.operations.feeding import parse_speed
from tests.factories.feed import AT

CONSOLE = Console(quiet=True)
MAPPING = """\
time: {value: "{at}", format: epoch_ms}
campaigns: [{id: shop}]
events:
  - {type: visit, fields: {user_id: "{user}", pages: "{pages}"}}
"""


class FakeBatch:
    """A batch of at most three records."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, *, timestamp: None, key: bytes, value: bytes) -> object | None:
        """Add a record; return None if the batch is full."""
        assert timestamp is None
        event = json.loads(value)
        assert key == event["user_id"].encode()
        if len(self.records) == 3:
            return None
        self.records.append(event)
        return object()


class FakeClient:
    """A producer that keeps what is sent, and does something once so many records were sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.defined: list[bytes] = []
        self.ended: list[tuple[int, int]] = []
        self.at: tuple[int, Any] | None = None
        self.at_end: Any = None

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the partitions of the topic of visits."""
        assert topic == "clicks"
        return {0, 1, 2}

    def create_batch(self) -> FakeBatch:
        """Return an empty batch."""
        return FakeBatch()

    async def send_batch(
        self, batch: FakeBatch, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        """Keep the records of a batch."""
        assert partition in await self.partitions_for(topic)
        await self._act()
        self.sent += batch.records
        return _done()

    async def send(self, topic: str, value: bytes, key: bytes) -> asyncio.Future[None]:
        """Keep a record."""
        assert (topic, key) == ("clicks", json.loads(value)["user_id"].encode())
        await self._act()
        self.sent.append(json.loads(value))
        return _done()

    async def _act(self) -> None:
        if self.at is not None and len(self.sent) >= self.at[0]:
            act, self.at = self.at[1], None
            act()
            await asyncio.sleep(0)

    async def send_and_wait(
        self, topic: str, value: bytes, key: bytes = b"", *, partition: int | None = None
    ) -> None:
        """Keep a definition, or the end of a partition."""
        if partition is not None:
            assert topic == "clicks"
            if self.at_end is not None:
                act, self.at_end = self.at_end, None
                act()
                await asyncio.sleep(0)
            self.ended.append((partition, json.loads(value)["event_time"]))
            return
        assert topic.endswith("-registry")
        self.defined.append(value)
        del key

    async def flush(self) -> None:
        """Do nothing."""


def _done() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClient:
    """A client in the place of the producer, in a folder with a log of 12 visits."""
    fake = FakeClient()

    @asynccontextmanager
    async def connected(_: Any) -> AsyncIterator[FakeClient]:
        yield fake

    monkeypatch.setattr(producer, "producer", connected)
    monkeypatch.setattr(producer, "FLUSH_EVERY", 4)
    monkeypatch.setattr("streams.operations.feeding.DEFINITIONS_SETTLE_S", 0)
    monkeypatch.setattr(topics, "require_sources", lambda _: None)
    monkeypatch.setattr(sending, "newest_times", lambda _: {})
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{AT + at},u{at},{at}\n" for at in range(12))
    Path("log.csv").write_text(f"at,user,pages\n{rows}")
    Path("map.yaml").write_text(MAPPING)
    return fake


END = whole_quarter(AT + 12)
"""The end of the last event's quarter of an hour."""


def feed(*, resume: bool = False, speed: str = "max") -> sending.Sent:
    """Feed the log of the folder, which is complete up to `END`."""
    chosen = settings.load()
    read = sending.read(chosen, [sending.Input(Path("log.csv"), Path("map.yaml"))], console=CONSOLE)
    return sending.send(
        chosen,
        FileSet(Path("log.csv"), read),
        speed=speed,
        resume=resume,
        late=False,
        ends={"clicks": END},
        console=CONSOLE,
    )


def interrupt() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("speed", ["max", "1000000x"])
@pytest.mark.parametrize("stop", [0, 1, 6, 11])
def test_stopped_and_resumed(client: FakeClient, stop: int, speed: str) -> None:
    """After Ctrl-C the position is known exactly; --resume sends the rest, each event once."""
    client.at = (stop, interrupt)
    done = feed(speed=speed)
    assert (done.sent, done.total, done.position_kept) == (len(client.sent), 12, True)
    assert done.sent >= stop
    if done.sent == 12:
        return
    with pytest.raises(FeedError, match=r"a feed of it stopped after \d+ events; continue with"):
        feed()
    done = feed(resume=True, speed=speed)
    assert (done.sent, done.total) == (12, 12)
    assert sorted(one["pages"] for one in client.sent) == list(range(12))
    assert len({one["event_id"] for one in client.sent}) == 12
    assert not Path("log.csv.position.json").exists()
    assert len(client.defined) == 2


def test_broker_stops_answering(client: FakeClient) -> None:
    """A broker that fails ends the feed with the number of events that it has."""

    def fail() -> None:
        raise KafkaTimeoutError

    client.at = (9, fail)
    with pytest.raises(FeedError, match=r"stopped after 8 of 12 events: KafkaTimeoutError: .*res"):
        feed()
    assert feed(resume=True).sent == 12
    ids = {one["pages"]: one["event_id"] for one in client.sent}
    assert {*ids} == {*range(12)}
    assert not [one for one in client.sent if one["event_id"] != ids[one["pages"]]]


@pytest.mark.parametrize("changed", ["log.csv", "map.yaml"])
def test_resume_of_another_content(client: FakeClient, changed: str) -> None:
    """Another file or mapping than the one that was stopped is not resumed."""
    client.at = (6, interrupt)
    feed()
    path = Path(changed)
    path.write_text(path.read_text().replace("u11,", "u12,").replace("shop", "store"))
    with pytest.raises(FeedError, match="is another one than when the feed stopped after"):
        feed(resume=True)
    Path("log.csv.position.json").write_text("{")
    with pytest.raises(FeedError, match=r"can't be read: .*; remove it"):
        feed()


def test_nothing_to_resume(client: FakeClient) -> None:
    with pytest.raises(FeedError, match="no feed of it stopped before its end"):
        feed(resume=True)
    assert client.sent == []


def test_no_place_for_the_position(client: FakeClient) -> None:
    """A folder that can't be written to does not stop the feed; the result says so."""
    Path("log.csv.position.json.new").mkdir()
    client.at = (6, interrupt)
    assert not feed().position_kept
    assert feed().sent == 12


def run(*arguments: str) -> tuple[int, str, str]:
    """Run `kpi-monitor feed`; an error that ends it has exit code 2."""
    done = CliRunner().invoke(cli, ["feed", "log.csv", "--mapping", "map.yaml", *arguments])
    if isinstance(done.exception, ConfigError | FeedError):
        return 2, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_exit_codes(client: FakeClient) -> None:
    """0 all is sent; 1 rows are refused; 2 nothing is sent, as it can't fit; 130 Ctrl-C."""
    log = Path("log.csv")
    whole = log.read_text()
    code, out, _ = run("--speed", "max")
    assert (code, len(client.sent)) == (0, 12)
    assert "log.csv: 12 rows\n  12 events: 12 visit\n12 of 12 events sent to " in out
    client.sent.clear()

    log.write_text(whole.replace("u3,3", "u3,three"))
    code, out, err = run("--speed", "max", "--strict")
    assert (code, client.sent) == (1, [])
    assert "nothing is sent, as rows are refused and --strict is set" in err
    code, out, _ = run("--speed", "max")
    assert (code, len(client.sent)) == (1, 11)
    assert "1 row refused, and kept in log.csv.refused.ndjson:" in out
    assert "line 5: pages: 'three' is no number" in out
    client.sent.clear()

    log.write_text(whole.replace("user", "usr"))
    code, _, err = run("--speed", "max")
    assert (code, client.sent) == (2, [])
    assert "map.yaml: line 4: events[0].fields.user_id: log.csv has no column 'user'; did" in err

    log.write_text(whole)
    client.at = (6, interrupt)
    code, out, err = run("--speed", "max")
    assert code == 130
    assert f"stopped after {len(client.sent)} events; continue with --resume" in err
    code, _, err = run("--speed", "max")
    assert code == 2
    assert run("--speed", "max", "--resume")[0] == 0


def test_ctrl_c_while_the_file_is_read(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent if the reading is stopped."""

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sending, "read", stopped)
    code, _, err = run()
    assert (code, client.sent) == (130, [])
    assert "stopped while log.csv was read; nothing was sent" in err


def test_dry_run_sends_nothing(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run needs no Kafka; its exit code says whether all would count."""
    monkeypatch.setattr(topics, "require_sources", lambda _: pytest.fail("asked Kafka"))
    code, out, _ = run("--dry-run")
    assert (code, client.sent, client.defined) == (0, [], [])
    assert "the monitor would count 12 of 12 events" in out
    assert "nothing was sent" in out
    assert "pages: 11" not in out
    Path("map.yaml").write_text(
        'time: {value: "{at}", format: epoch_ms}\nevents:\n  - type: order_placed\n    fields: '
        '{user_id: "{user}", order_id: "{event_id}", amount: "{pages}", currency: XXX}\n'
    )
    code, out, _ = run("--dry-run")
    assert code == 1
    assert "12 dead letters: unknown_currency" in out


def test_key_of_hashes(client: FakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mapping that hashes needs a key, from the environment or a file, of some length."""
    mapping = Path("map.yaml")
    mapping.write_text(MAPPING.replace('"{user}"', '{value: "{user}", hash: true}'))
    code, _, err = run("--dry-run")
    assert code == 2
    assert "KPI_HASH_KEY: is not set, and the mapping hashes a field; make a key with" in err
    monkeypatch.setenv("KPI_HASH_KEY", "short secret")
    assert "KPI_HASH_KEY: has fewer than 16 characters" in run("--dry-run")[2]
    assert "short secret" not in run("--dry-run")[2]
    key = tmp_path / "key"
    key.write_text("a key that is long enough\n")
    monkeypatch.setenv("KPI_HASH_KEY_FILE", str(key))
    assert run("--speed", "max")[0] == 0
    assert not [one for one in client.sent if one["user_id"].startswith("u")]


@pytest.mark.parametrize("text", ["nan", "inf", "-1x", "0", "fast"])
def test_wrong_speed(text: str) -> None:
    with pytest.raises(FeedError, match=f"speed '{text}': use max, or a number like 60x"):
        parse_speed(text)


def test_refused_rows_never_replace_the_file(tmp_path: Path) -> None:
    """The file of refused rows can't be the one that is read."""
    path, mapping = tmp_path / "log.csv", tmp_path / "map.yaml"
    path.write_text(f"at,user,pages\n{AT},u,1\n")
    mapping.write_text(MAPPING)
    with pytest.raises(FeedError, match="is the file that is fed; name another one"):
        sending.read(settings.load(), [sending.Input(path, mapping, path)], console=CONSOLE)
    assert path.read_text().startswith("at,")


def test_the_end_is_said_once_all_is_sent(client: FakeClient) -> None:
    """Each partition gets it; not while events are left, and after a resume."""
    client.at = (6, interrupt)
    assert not feed().finished
    assert client.ended == []
    assert feed(resume=True).finished
    assert client.ended == [(partition, END) for partition in range(3)]


def test_stopped_before_the_end_is_said(client: FakeClient) -> None:
    """Ctrl-C after the last event: ``--resume`` says the end, and sends no event again."""
    client.at_end = interrupt
    assert feed() == sending.Sent(12, 12)
    assert (len(client.sent), client.ended) == (12, [])
    assert feed(resume=True) == sending.Sent(12, 12, finished=True)
    assert (len(client.sent), len(client.ended)) == (12, 3)
    assert not Path("log.csv.position.json").exists()


def test_through(client: FakeClient) -> None:
    """By default it is the last quarter of an hour; a date is its whole day; none says nothing."""
    said = "complete through 15 Nov 2023 06:15 CST (clicks)"
    code, out, _ = run("--dry-run")
    assert (code, client.ended) == (0, [])
    assert f"the feed would say at its end: {said}\nnothing was sent" in out
    code, out, _ = run("--speed", "max")
    assert (code, client.ended) == (0, [(partition, END) for partition in range(3)])
    assert f"{said}: windows up to then can close" in out
    for given, end in (("none", ""), ("2023-11-15", "16 Nov 2023 00:00 CST (clicks)")):
        client.ended.clear()
        code, out, _ = run("--speed", "max", "--through", given)
        assert (code, len(client.ended)) == (0, 3 if end else 0)
        assert ("complete through" in out) is bool(end)
        assert end in out


def test_an_end_before_the_last_event_sends_nothing(client: FakeClient) -> None:
    code, _, err = run("--speed", "max", "--through", "2001-01-01")
    assert code == 2
    assert "--through 2001-01-01: the files have events up to" in err
    assert client.sent == []
