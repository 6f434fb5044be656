"""Notices that another process joined the group under this worker's instance id.

Kafka gives the newer one the older one's place. aiokafka does not name its
instance id in heartbeats, so the older one only hears that it is unknown, joins
again, and takes the place back, for ever. Asked with the instance id (version 3
of the request, KIP-345), the broker tells the two cases apart.
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
    """A heartbeat that names the instance."""

    API_KEY = 12

    def __init__(self, *fields: object) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields)


def watch(coordinator: Any, *, on_taken: Callable[[], None]) -> None:
    """Call ``on_taken`` once another process has the place of this member."""
    send = coordinator._send_req

    async def send_and_look(request: Any) -> Any:
        generation, member = coordinator.generation, coordinator.member_id
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
    """Return a response's error codes; a commit's are by topic and partition."""
    if hasattr(response, "error_code"):
        return frozenset({response.error_code})
    return frozenset(
        place[1]
        for _, places in getattr(response, "topics", ())
        for place in places
        if len(place) == 2
    )
