"""Lists the workers of a consumer group, and finds out whether another one has an instance id.

The broker keeps a member for the session timeout after its process has ended, and does not know
whether it runs. So a worker writes down, in its data folder, as which member it joined: if the
group has another one under its instance id at the next start, that is another worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)

_NOT_YET = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
_COORDINATOR_S = 10.0
"""Longest wait, in s, for the coordinator of a group; a new cluster makes its topic first."""


class Member(NamedTuple):
    """A member of a group, as the broker describes it.

    Attributes:
        instance_id: the name of the worker; empty if it has none.
        member_id: the broker's name for it, a new one each time that a worker joins.
        address: from which it joined, or from which the worker did that had its place before.
    """

    instance_id: str
    member_id: str
    address: str

    def __str__(self) -> str:
        return f"{self.instance_id or self.member_id} from {self.address}"


class MemberFile:
    """The file in which a worker writes down as which member it joined.

    Args:
        data_dir: the worker's data folder.
        instance_id: the worker's name.
    """

    PATTERN = "member-*.json"

    def __init__(self, data_dir: Path, instance_id: str) -> None:
        self._path = data_dir / self.PATTERN.replace("*", instance_id)
        self._instance_id = instance_id
        self._written = ""

    def write(self, member_id: str) -> None:
        """Write down the id of this process' membership; a disk that is full is no error here."""
        if member_id and member_id != self._written:
            self._written = member_id
            record = {"member": member_id, "host": socket.gethostname(), "process": os.getpid()}
            with contextlib.suppress(OSError):
                self._path.write_text(json.dumps(record))

    def other_worker(self, present: Iterable[Member]) -> str | None:
        """Return which other worker has the instance id; None if there is none.

        Call it before this worker joins. Its predecessor in this data folder counts if its
        process runs.
        """
        member = next((one for one in present if one.instance_id == self._instance_id), None)
        if member is None:
            return None
        record: dict[str, object] = {}
        with contextlib.suppress(OSError, ValueError):
            record = dict(json.loads(self._path.read_text()))
        if record.get("member") != member.member_id:
            return f"one that joined from {member.address} with another data folder"
        process = record.get("process")
        here = record.get("host") == socket.gethostname() and isinstance(process, int)
        if here and process != os.getpid() and _runs(int(str(process))):
            return f"process {process} on this machine"
        return None


def members(client: KafkaAdminClient, group: str) -> list[Member]:
    """Return the members of a group; none if there is no such group.

    Raises:
        KafkaError: the coordinator of the group does not answer, or refuses.
    """
    deadline = time.monotonic() + _COORDINATOR_S
    while True:
        try:
            described = client.describe_groups([group])[group]
        except _NOT_YET:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
            continue
        return [
            Member(
                one["group_instance_id"] or "",
                one["member_id"],
                one["client_host"].lstrip("/"),
            )
            for one in described["members"]
        ]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
