"""`kpi-monitor init`, as a stranger uses it."""

from __future__ import annotations

from pathlib import Path

from tests.factories import exports
from tests.support.command import run


def test_init_overwrites_nothing_unasked(tmp_path: Path) -> None:
    """Files that exist are named, and kept without --force; the key is always kept."""
    (tmp_path / "orders.csv").write_text(exports.shop_orders())
    arguments = ["init", str(tmp_path / "orders.csv"), "--folder", str(tmp_path / "shop")]
    asked = run(*arguments)
    assert asked.returncode == 2
    assert "nobody can be asked here; --yes takes the guesses" in asked.stderr
    first = run(*arguments, "--yes", TZ="Europe/Vienna")
    assert first.returncode == 0, first.stderr
    assert "taken for Europe/Vienna" in first.stderr + first.stdout
    key = (tmp_path / "shop" / "hash.key").read_text()
    (tmp_path / "shop" / "orders.yaml").write_text("mine")
    again = run(*arguments, "--yes")
    assert again.returncode == 2
    assert f"these files exist: {tmp_path}/shop/orders.yaml, " in again.stderr
    assert (tmp_path / "shop" / "orders.yaml").read_text() == "mine"
    forced = run(*arguments, "--yes", "--force")
    assert forced.returncode == 0
    assert f"overwritten, as --force is set: {tmp_path}/shop/orders.yaml" in forced.stdout
    assert (tmp_path / "shop" / "hash.key").read_text() == key
    assert (tmp_path / "shop" / "hash.key").stat().st_mode & 0o077 == 0
