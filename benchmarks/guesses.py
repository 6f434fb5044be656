"""Shows what ``kpi-monitor init`` guesses of the columns of some files, beside what they are.

sh scripts/test-data.sh && python -m benchmarks.guesses
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from streams.guessing.columns import Role
from streams.guessing.file_guess import FileGuess, guess_file
from streams.guessing.file_probe import probe
from tests.factories.exports import exports
from tests.support import data


class Guessed(NamedTuple):
    """A column with its guess, and what it is."""

    file: str
    column: str
    is_: str
    guess: str

    @property
    def is_right(self) -> bool:
        """Whether the guess is right."""
        return self.is_ == self.guess


def guesses(folder: Path, packages: Path) -> Iterator[Guessed]:
    """Yield each column of the files.

    Args:
        folder: where files may be written.
        packages: the folder of the files of packages.
    """
    for export in exports():
        guess = guess_file(probe(export.written(folder, packages)))
        name = Path(export.name).name
        yield Guessed(name, "(rows)", export.kind, guess.kind)
        for column, is_ in export.columns.items():
            role = guess.roles.get(column)
            found = "" if role is None else described(guess, column, role)
            with_format = is_.startswith(f"{role} ")
            yield Guessed(name, column, is_, found if with_format else str(role or ""))


def described(guess: FileGuess, column: str, role: Role) -> str:
    """Return the role of a column, with the format of its times or its decimal mark."""
    number = guess.columns[column].number
    if role is Role.TIME:
        return f"{role} {' or '.join(guess.time.formats)}"
    is_money = role in {Role.AMOUNT, Role.COST, Role.REFUND}
    return f"{role} {number.numbers.decimal}" if is_money and number is not None else str(role)


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
