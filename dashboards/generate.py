"""Writes the boards' JSON: ``python -m dashboards.generate [--check]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dashboards import catalogue, live, model
from dashboards.lint import faults

FOLDER = Path(__file__).parent / "json"


def boards() -> dict[Path, str]:
    """Return the text of every generated file, by its path."""
    return {
        FOLDER / "live.json": model.to_json(live.build()),
        FOLDER / "kpis.json": model.to_json(catalogue.build()),
    }


def main(arguments: list[str]) -> int:
    """Write the files; with ``--check`` only report those that differ.

    Returns:
        1 if a board has faults, in which case nothing is written, or if a checked file differs;
        else 0.
    """
    faulty = [
        f"{path.name}: {fault}"
        for path, text in boards().items()
        for fault in faults(json.loads(text))
    ]
    if faulty:
        sys.stderr.write("\n".join([*faulty, ""]))
        return 1
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
