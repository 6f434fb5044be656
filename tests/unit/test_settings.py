"""Settings and files: errors that name what, where and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams import config, settings
from streams.errors import ConfigError


def test_the_environment_is_read_and_arguments_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPI_KAFKA", "elsewhere:1")
    assert settings.load().kafka == "elsewhere:1"
    assert settings.load(kafka="here:2").kafka == "here:2"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("time_zone", "Mars/Olympus", "IANA"),
        ("currency", "yuan", "pattern"),
        ("partitions", "0", "greater than or equal to 1"),
        ("start_from", "tomorrow", "RFC 3339"),
        ("start_from", "2026-06-18T00:00:00", "offset from UTC"),
        ("app_id", "a b", "pattern"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, why: str
) -> None:
    monkeypatch.setenv(f"KPI_{key.upper()}", value)
    with pytest.raises(ConfigError, match=why) as caught:
        settings.load()
    assert f"KPI_{key.upper()}" in str(caught.value)


def test_ids_are_kept_as_long_as_their_events_may_count() -> None:
    with pytest.raises(ConfigError, match="dedupe_horizon_s"):
        settings.load(dedupe_horizon_s=60, correction_horizon_s=600)


def test_a_redis_url_is_not_shown() -> None:
    assert "hunter2" not in repr(settings.load(redis="redis://:hunter2@host/0"))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"redis": "http://host"}, "must begin with redis://"),
        ({"redis": "redis://host", "redis_ca_file": Path(__file__)}, "rediss://"),
        ({"redis": "rediss://host", "redis_cert_file": Path(__file__)}, "go together"),
    ],
)
def test_settings_of_redis_that_do_not_fit_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        settings.load(**given)


def test_a_missing_file_of_redis_is_named(tmp_path: Path) -> None:
    chosen = settings.load(redis="rediss://host", redis_ca_file=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match=r"redis_ca_file: .*none.pem can't be read"):
        _ = chosen.redis_server


def test_redis_password_comes_from_a_file(tmp_path: Path) -> None:
    """The password of Redis is read from a file, and no representation shows it."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    chosen = settings.load(redis="redis://monitor@host/0", redis_password_file=secret)
    server = chosen.redis_server
    assert server is not None
    assert server.client_options()["password"] == "hunter2"
    assert "hunter2" not in repr(server)


RULES = """\
rules:
  - name: ok
    kind: threshold
    kpi: clicks
    above: 1
  - name: second
    kind: threshold
    kpi: magic
    above: 1
"""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (RULES, r"line 8: rules\[1\].kpi: no KPI named 'magic'; known: impressions"),
        (RULES.replace("magic", "clikcs"), r"no KPI named 'clikcs'; did you mean clicks\?"),
        (
            RULES.replace("magic", "clicks\n    typo: 1"),
            r"line 9: rules\[1\].typo: there is no such key; known: above",
        ),
        (
            RULES.replace("kpi: magic", "kpi: clicks\n    abvoe: 1"),
            r"line 9: rules\[1\].abvoe: there is no such key; did you mean above\?",
        ),
        (
            RULES.replace("magic", "clicks\n    match: {campain: [c1]}"),
            r"line 9: rules\[1\].match.campain: there is no such key; did you mean campaign\?",
        ),
        (RULES.replace("kpi: magic", "kpi: clicks\n    for: soon"), r"line 9: rules\[1\].for"),
        (RULES.replace("    kpi: magic\n", ""), r"line 6: rules\[1\].kpi: is missing"),
        ("rules: [", "line 1|line 2"),
        ("rules: 5", "line 1: rules"),
        (
            RULES.replace("above: 1\n", "above: 1\n    above: 2\n", 1),
            "line 6: key 'above' is given",
        ),
        (
            RULES.replace("magic", "clicks").replace("second", "ok"),
            "line 6: rules: name 'ok' is given already, in line 2",
        ),
        ("rules: []\nrules: []\n", "line 2: key 'rules' is given already, in line 1"),
        (RULES.replace("above: 1", "match: {region: [a], region: [b]}", 1), "line 5: key 'region'"),
        ("rules: &all [*all]", "line 1|rules"),
    ],
)
def test_a_wrong_file_names_line_and_key(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=where) as caught:
        config.load_rules(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (config.load_campaigns, "campaigns:\n  - {id: c1, name: A}\n  - {id: c1, name: B}\n"),
        (
            config.load_rates,
            "rates:\n  - {currency: USD, date: 2026-01-01, rate: 7}\n"
            "  - {currency: USD, date: 2026-01-01, rate: 8}\n",
        ),
    ],
)
def test_repeated_entry(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    """A campaign or rate that is given twice is refused with both lines."""
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"line 3: .* is given already, in line 2"):
        read(path)
    path.write_text(text.rsplit("  - ", 1)[0])
    assert read(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        config.load_rules(tmp_path / "none.yaml")


def test_no_file_is_no_rules() -> None:
    assert config.load_rules(None).rules == ()


def test_the_example_files_are_right(repository: Path) -> None:
    for path in (repository / "config").glob("*rules.yaml"):
        assert config.load_rules(path).rules
    for path in (repository / "config").glob("*campaigns.yaml"):
        assert config.load_campaigns(path).campaigns


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka_security": "sasl_ssl"}, "needs kafka_username, and kafka_password"),
        ({"kafka_security": "tls"}, "kafka_security"),
        ({"kafka_cert_file": "a.pem"}, "go together"),
    ],
)
def test_security_that_can_not_work_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings.load(**given)


def test_a_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hush\n")
    chosen = settings.load(
        kafka_security="sasl_ssl", kafka_username="u", kafka_password_file=secret
    )
    assert chosen.broker.client_options()["sasl_plain_password"] == "hush"
    assert "hush" not in repr(chosen) + repr(chosen.broker)
    secret.unlink()
    with pytest.raises(ConfigError, match=r"kafka_password_file: .*password can't be read"):
        _ = chosen.broker


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    chosen = settings.load(kafka_security="ssl", kafka_ca_file=broken)
    with pytest.raises(ConfigError, match=r"kafka_ca_file: .*ca.pem can't be used"):
        chosen.broker.client_options()


def test_every_fault_of_a_file(tmp_path: Path) -> None:
    """All faults of a file are reported at once, in the order of their lines, in plain words."""
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n"
        "  - {name: a, kpi: clicks, below: 1}\n"
        "  - {name: b, kind: treshold, kpi: clicks}\n"
        "  - {name: c, kind: threshold, bellow: 1}\n"
        "  - {name: 5, kind: threshold, kpi: clik, below: 1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        config.load_rules(path)
    error = caught.value
    assert str(error).split("\n") == [
        f"{path}: line 2: rules[0]: kind is missing; give one of absence, threshold",
        f"{path}: line 3: rules[1].kind: no kind named 'treshold'; did you mean threshold?",
        f"{path}: line 4: rules[2].kpi: is missing",
        f"{path}: line 4: rules[2].bellow: there is no such key; did you mean below?",
        f"{path}: line 5: rules[3].name: is no text; write it in quotes",
    ]
    assert (error.where, error.why.split(";")[0]) == ("line 2: rules[0]", "kind is missing")
