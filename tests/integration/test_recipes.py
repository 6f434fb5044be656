"""The recipes of docs/contributing.md work: a copy of the code that follows them passes."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

_COPIED = ("streams", "models", "dashboards", "tools", "tests", "benchmarks", "docs", "config")
_FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile", ".mypy_cache")
_USE = """
from models.window import MINUTE_MS
from tests.support.offline import NOON, ClosedKey, Path, event, taken_over

def fed(path, minutes):
    for minute in minutes:
        for kind in ("download", "visit", "click"):
            at = NOON + minute * MINUTE_MS + 500
            path.feed([event(kind, at=at, event_id=f"{kind}{minute}", user_id="u")], batch=1)

path = Path(now_ms=NOON + 300 * MINUTE_MS)
fed(path, range(0, 30))
path.kpis = taken_over(path, measures_version=1)  # the worker before did not know downloads
fed(path, range(30, 120))
path.finish()
older = path.closed[ClosedKey("1h", NOON + 60 * MINUTE_MS)]
newer = path.closed[ClosedKey("1h", NOON + 110 * MINUTE_MS)]
assert "downloads" not in older, older
assert newer["downloads"][0] == 60, newer
assert older["landing_rate"][:1] == newer["landing_rate"][:1] == [1.0], (older, newer)
"""


@pytest.fixture(scope="module")
def followed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the recipes with blocks are followed."""
    copy = tmp_path_factory.mktemp("followed")
    for name in _COPIED:
        shutil.copytree(
            repository / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in _FILES:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, copy / name)
        elif (repository / name).exists():
            shutil.copy2(repository / name, copy / name)
    text = (repository / "docs" / "contributing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n# (\S+), ([^\n]+) (\w+)\n(.+?)^```$", text, re.M | re.S)
    assert len(blocks) == 8
    for file, where, name, code in blocks:
        path = copy / file
        path.write_text(_placed(path.read_text("utf-8"), where, name, code), "utf-8")
    _run(copy, "python", "-m", "tools.reference")
    _run(copy, "python", "-m", "dashboards.generate")
    return copy


def _placed(source: str, where: str, name: str, code: str) -> str:
    """Return a module's source with code in the place that a recipe names."""
    (found,) = (one for one in ast.parse(source).body if name in _names(one))
    assert found.end_lineno is not None
    lines = source.splitlines(keepends=True)
    if where == "at the end of":
        lines.insert(found.end_lineno - 1, code)
    elif where == "before":
        lines.insert(found.lineno - 1, code + "\n\n")
    else:
        assert where == "instead of"
        lines[found.lineno - 1 : found.end_lineno] = [code]
    return "".join(lines)


def _names(node: ast.stmt) -> set[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            return {name}
        case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
            return {name}
    return set()


def _run(copy: Path, command: str, *arguments: str) -> None:
    """Run a command in the copy, which stands before the installed packages."""
    done = subprocess.run(
        [Path(sys.executable).with_name(command), *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "TESTED_REPOSITORY": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "check",
    [
        ("ruff", "format", "--check", "models", "streams", "tests/support"),
        ("ruff", "check", "models", "streams", "tests/support"),
        ("mypy",),
        ("lint-imports",),
        ("python", "-m", "tools.reference", "--check"),
        ("python", "-m", "dashboards.generate", "--check"),
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_docs.py"),
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_catalogue.py"),
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_kpis.py", "-k", "calculation"),
    ],
    ids=lambda check: check[-1].rpartition("/")[2],
)
def test_checks(followed: Path, check: tuple[str, ...]) -> None:
    """The checks and the tests of the catalogue, the docs and the calculation pass."""
    _run(followed, *check)


def test_measured(followed: Path) -> None:
    """The new KPIs are published, and absent where an older version read the events."""
    (followed / "use.py").write_text(_USE, "utf-8")
    _run(followed, "python", "use.py")
