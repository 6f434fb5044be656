"""Runs real Prometheus, Alertmanager and Chromium programs for tests, as Debian packages them."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from streams.embedded import processes


def get(url: str) -> Any:
    """Return the JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def until(ready: Callable[[], object], *, timeout_s: float, why: str) -> None:
    """Wait until ``ready`` returns something true; an OSError counts as not ready.

    Raises:
        AssertionError: it did not within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not within {timeout_s} s: {why}")


@contextmanager
def alertmanager(program: str, folder: Path) -> Iterator[str]:
    """Run Alertmanager and yield its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    port = processes.free_port()
    child = processes.start(
        "Alertmanager",
        [
            program,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        log_file=folder / "log",
    )
    with processes.running(child):
        processes.wait_until(lambda: processes.listens(port), child=child, timeout_s=20)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def prometheus(program: str, folder: Path, *, target: str) -> Iterator[str]:
    """Run a Prometheus that scrapes the target every second, and yield its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(
        "scrape_configs: [{job_name: kpi-monitor, scrape_interval: 1s, scrape_timeout: 1s,"
        f" static_configs: [{{targets: ['{target}']}}]}}]"
    )
    port = processes.free_port()
    child = processes.start(
        "Prometheus",
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log_file=folder / "log",
    )
    with processes.running(child):
        processes.wait_until(lambda: processes.listens(port), child=child, timeout_s=20)
        yield f"http://127.0.0.1:{port}"


def query(prometheus_url: str, expr: str) -> list[dict[str, Any]]:
    """Return the result of an instant query."""
    answer = get(f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
    assert answer["status"] == "success", answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


@contextmanager
def browser(driver: str, chromium: str, *, width: int, height: int) -> Iterator[Any]:
    """Yield a headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--lang=en",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()
