"""Shows what ``kpi-monitor init`` guesses of the columns of some files, beside what they are.

sh scripts/test-data.sh && python -m benchmarks.guesses
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support import data
from tests.support.guesses import guesses


def main() -> None:
    """Print the table."""
    shown = Table("file", "column", "is", "guess", "")
    with tempfile.TemporaryDirectory() as folder:
        found = [*guesses(Path(folder), data.folder(data.repository()))]
    for one in found:
        shown.add_row(one.file, one.column, one.is_, one.guess, "" if one.is_right else "wrong")
    console = Console()
    console.print(shown)
    right = sum(one.is_right for one in found)
    console.print(f"{right} of {len(found)} right, {right / len(found):.1%}", highlight=False)


if __name__ == "__main__":
    main()
