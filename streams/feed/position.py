"""The position of a feed that was stopped, in a small file from which ``--resume`` continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from streams.errors import FeedError


def fingerprint(files: Iterable[Path], destination: str) -> str:
    """Return a hash of the content of files and of where their events go."""
    digest = hashlib.blake2b(destination.encode(), digest_size=16)
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


class Position:
    """The number of events of a log that were sent.

    Args:
        path: the file that keeps it.
        log: the log, for messages.
        fingerprint: identifies the log's content, its mapping, and the destination.
    """

    def __init__(self, path: Path, *, log: Path, fingerprint: str) -> None:
        self._path = path
        self._log = log
        self._fingerprint = fingerprint
        self._writable = True

    def start(self, *, resume: bool) -> int:
        """Return the number of events to skip: 0, or with ``resume`` those that were sent.

        Raises:
            FeedError: there is a position and it is not asked for, or there is none, or it is of
                another content.
        """
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            sent, known = int(kept["sent"]), str(kept["fingerprint"])
        except FileNotFoundError:
            if resume:
                raise FeedError(
                    f"{self._log}: no feed of it stopped before its end ({self._path} does not "
                    "exist); feed it without --resume"
                ) from None
            return 0
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise FeedError(f"{self._path}: can't be read: {error}; remove it") from None
        if not resume:
            raise FeedError(
                f"{self._log}: a feed of it stopped after {sent:,} events; continue with --resume, "
                f"or remove {self._path} to send all of it again"
            )
        if known != self._fingerprint:
            raise FeedError(
                f"{self._log}: the file, its mapping or the broker is another one than when the "
                f"feed stopped after {sent:,} events; remove {self._path} to send all of it"
            )
        return sent

    def keep(self, sent: int) -> bool:
        """Keep the number of events that were sent; return False if the file can't be written."""
        if not self._writable:
            return False
        content = json.dumps({"sent": sent, "fingerprint": self._fingerprint})
        written = self._path.with_name(f"{self._path.name}.new")
        try:
            written.write_text(content, encoding="utf-8")
            written.replace(self._path)
        except OSError:
            self._writable = False
        return self._writable

    def remove(self) -> None:
        """Forget the position, since all events were sent."""
        self._path.unlink(missing_ok=True)
