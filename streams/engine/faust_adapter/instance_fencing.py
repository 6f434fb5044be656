"""Detects that another process joined the group under this worker's instance id.

Kafka gives the newer process the older one's place. aiokafka's heartbeats do not name the
instance id, so the older process only learns that its member id is unknown. It joins again
and takes the place back, and so on for ever. A heartbeat that names the instance id (version
3 of the request, KIP-345) lets the broker tell the two cases apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import HeartbeatResponse_v1
from aiokafka.protocol.types import Int32, Schema, String

_UNKNOWN_MEMBER_ID = 25
_FENCED_INSTANCE_ID = 82


class _Response(HeartbeatResponse_v1):  # type: ignore[misc]
    API_VERSION = 3


class _HeartbeatRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _InstanceHeartbeat(Request[_HeartbeatRequest]):  # type: ignore[misc]
    """A heartbeat request that names the instance id."""

    API_KEY = 12

    def __init__(self, *fields: object) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


def watch(
    coordinator: Any, *, on_taken: Callable[[], None], on_member: Callable[[str], None]
) -> None:
    """Call ``on_taken`` once another process has taken this member's place.

    Args:
        coordinator: aiokafka's group coordinator, whose requests are watched from now on.
        on_taken: called without arguments.
        on_member: called with this member's id before each request; empty before it joined.
    """
    send = coordinator._send_req

    async def send_and_look(request: Any) -> Any:
        generation, member = coordinator.generation, coordinator.member_id
        on_member(member)
        response = await send(request)
        codes = _error_codes(response)
        if member and _UNKNOWN_MEMBER_ID in codes:
            asked = await send(
                _InstanceHeartbeat(
                    coordinator.group_id, generation, member, coordinator._group_instance_id
                )
            )
            codes = codes | _error_codes(asked)
        if _FENCED_INSTANCE_ID in codes:
            on_taken()
        return response

    coordinator._send_req = send_and_look


def _error_codes(response: Any) -> frozenset[int]:
    """Return the error codes of a response; that of a commit has one for each partition."""
    if hasattr(response, "error_code"):
        return frozenset({response.error_code})
    return frozenset(
        place[1]
        for _, places in getattr(response, "topics", ())
        for place in places
        if len(place) == 2
    )
