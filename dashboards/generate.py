"""Writes the boards' JSON: ``python -m dashboards.generate [--check]``."""

from __future__ import annotations

import sys
from pathlib import Path

from dashboards import catalogue, live

FOLDER = Path(__file__).parent / "json"


def boards() -> dict[Path, str]:
    """Return the text of every generated file."""
    return {
        FOLDER / "live.json": live.to_json(live.build()),
        FOLDER / "kpis.json": live.to_json(catalogue.build()),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which of them differ."""
    stale = [
        path
        for path, text in boards().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} differs from its code; run python -m dashboards.generate\n")
        return 1 if stale else 0
    for path, text in boards().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
