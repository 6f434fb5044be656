"""The guesses of ``kpi-monitor init`` for the columns of some files, beside what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streams.guessing.columns import Role
from streams.guessing.file_guess import FileGuess, guess_file
from streams.guessing.file_probe import probe
from tests.factories.exports import exports


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
