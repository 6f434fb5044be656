"""``kpi-monitor init``: look at files, and write a project that feeds them."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from models.kpi.catalogue import CATALOGUE
from streams import config, settings
from streams.commands.options import err, out, say, with_project
from streams.errors import FeedError, InitError
from streams.feed.events.mapped_file import MappedFile
from streams.feed.project import load_project
from streams.guessing import project_guess
from streams.guessing.file_guess import Defaults
from streams.guessing.project_guess import KEY_FILE, ProjectGuess

_LOCAL_TIME = Path("/etc/localtime")


def init(
    files: Annotated[list[Path], typer.Argument(help="Files of rows: CSV, NDJSON or Parquet.")],
    folder: Annotated[
        Path, typer.Option("--folder", help="Folder of the project; created if it is missing.")
    ] = Path(),
    name: Annotated[str, typer.Option(help="Name of the project file.")] = "shop.yaml",
    time_zone: Annotated[
        str | None,
        typer.Option(help="IANA time zone of business days and of times without an offset."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Reporting currency, and that of amounts without one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; take the guesses.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Look at files, and write a project that feeds them.

    The first 20,000 rows of each file are looked at: columns, separator, encoding, formats of times
    and numbers, e-mail addresses, words for absent values, and whether rows are clicks, orders,
    refunds or spend. A project file, a mapping for each file, the campaigns and a first rule are
    written, with comments on what is not sure. Then each file is read through its mapping, and its
    rows are reported; nothing is sent. If users are e-mail addresses, a key is written, too, by
    which they are hashed. The exit code is 0 if every row is understood, 1 if a file or rows are
    not, and 2 if nothing was written.
    """
    guess = project_guess.look_at(files)
    for error in guess.unusable:
        say(err, f"kpi-monitor: {error}")
    if not guess.files:
        raise InitError("no file can be used, and nothing was written")
    defaults = _defaults(guess, time_zone, currency, ask=not yes)
    chosen = settings.load()
    own_key = not (chosen.hash_key or chosen.hash_key_file)
    if guess.hashes and not own_key:
        _ = chosen.hash_secret  # It must be there before anything is written.
    texts, notes = project_guess.written(guess, folder, name, defaults, own_key=own_key)
    for one in guess.files:
        say(out, f"{one.probe.path}: {one.kind}")
        for column, role in one.roles.items():
            say(out, f"  {column}: {role}")
    _refuse_existing(folder, texts, force=force)
    if not yes and not _agreed(folder, texts):
        say(out, "nothing was written")
        raise typer.Exit(1)
    _write(folder, texts, with_key=guess.hashes and own_key)
    understood = _check(folder / name)
    say(out, "")
    for note in notes:
        say(out, f"not sure: {note}")
    say(out, "\nLook at the comments in the mappings. Then see what the monitor would count:\n")
    command = ["kpi-monitor", "feed", "--all", str(folder / name), "--dry-run"]
    say(out, f"  {shlex.join(command)}")
    if not understood or guess.unusable:
        raise typer.Exit(1)


def _defaults(
    guess: ProjectGuess, time_zone: str | None, currency: str | None, *, ask: bool
) -> Defaults:
    """Return time zone and currency: as given, else as the files say, else asked for, or guessed.

    Raises:
        InitError: one of them is not valid, or nobody can be asked.
    """
    found = guess.currencies.most_common(1)
    if ask and not sys.stdin.isatty():
        raise InitError("nobody can be asked here; --yes takes the guesses. Nothing was written")
    zone = time_zone or _zone_here()
    code = currency or (found[0][0] if found else settings.load().currency)
    if ask:
        zone = time_zone or typer.prompt("Time zone of the files and of business days", zone)
        code = currency or typer.prompt("Reporting currency", code)
    elif time_zone is None:
        say(err, f"note: the time zone is taken for {zone}, that of this machine; see --time-zone")
    if currency is None and not found and not ask:
        say(err, f"note: the currency is taken for {code}, as no file names one; see --currency")
    try:
        settings.known_zone(zone)
    except ValueError as error:
        raise InitError(f"--time-zone: {error}; nothing was written") from None
    if not (len(code) == 3 and code.isascii() and code.isupper()):
        raise InitError(f"--currency: {code!r} is no code such as EUR; nothing was written")
    return Defaults(zone, code)


def _zone_here() -> str:
    """Return the time zone of this machine; UTC if it is not known."""
    for found in (os.environ.get("TZ", ""), str(_LOCAL_TIME.resolve()).partition("zoneinfo/")[2]):
        try:
            return settings.known_zone(found.removeprefix(":"))
        except ValueError:
            continue
    return "UTC"


def _refuse_existing(folder: Path, names: Iterable[str], *, force: bool) -> None:
    existing = [str(folder / one) for one in names if (folder / one).exists()]
    if not existing:
        return
    if not force:
        raise InitError(
            f"nothing was written, as these files exist: {', '.join(existing)}; give another "
            "--folder, or --force to overwrite them"
        )
    say(out, f"overwritten, as --force is set: {', '.join(existing)}")


def _agreed(folder: Path, names: Iterable[str]) -> bool:
    return typer.confirm(f"Write {', '.join(str(folder / one) for one in names)}?")


def _write(folder: Path, texts: dict[str, str], *, with_key: bool) -> None:
    """Write the files, and the key of hashes if they need one and it is not there."""
    key_file = folder / KEY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
            say(out, f"wrote {folder / name}")
        if not with_key:
            return
        if key_file.exists():
            say(out, f"kept {key_file}, the key by which e-mail addresses are hashed")
            return
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="ascii") as file:  # noqa: PTH123 - of a handle
            file.write(secrets.token_hex(32))
    except OSError as error:
        raise InitError(f"{error.filename}: can't be written: {error.strerror}") from None
    say(out, f"wrote {key_file}, the key by which e-mail addresses are hashed; keep it secret")


def _check(project_file: Path) -> bool:
    """Read what was written, and each file through its mapping; return if all is understood."""
    project = load_project(project_file, with_files=True)
    chosen = settings.load(**with_project(project))
    config.load_campaigns(project.campaigns)
    config.load_rules(project.rules, catalogue=CATALOGUE)
    understood = True
    say(out, "")
    for entry in project.files:
        with tempfile.TemporaryDirectory(prefix="kpi-init-") as scratch:
            mapped = MappedFile(
                entry.file,
                entry.mapping,
                largest_bytes=chosen.largest_record_bytes,
                refused_path=Path(scratch) / "refused.ndjson",
                hash_key=lambda: chosen.hash_secret,
            )
            try:
                mapped.read()
            except FeedError as error:
                say(err, f"{error}")
                understood = False
                continue
        for line in mapped.report.lines():
            say(out, line.replace(f", and kept in {mapped.report.refused_path}", ""))
        understood = understood and not mapped.report.refused
    return understood
