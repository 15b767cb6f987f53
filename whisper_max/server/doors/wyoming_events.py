"""Wyoming's events on a stream of bytes: a line of JSON each, then so much more JSON, then so many bytes of audio.

The package ``wyoming`` reads as many bytes as a client says; here they are bounded.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

LONGEST_LINE = 64 << 10  # bytes
_LONGEST_DATA, _LONGEST_PAYLOAD = 256 << 10, 4 << 20
_VERSION = "1.5.2"  # of the protocol, whose header has it


class BrokenEvent(Exception):
    """What came is no event; nothing after it can be told apart."""


@dataclass(frozen=True)
class Event:
    """One event. data: its JSON. payload: its audio."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None where the client has left.

    Raises:
        BrokenEvent: it is none, or too large.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        head = _object(line)
        data = _object(head.get("data", {}))
        data |= _object(await _read(reader, head.get("data_length"), _LONGEST_DATA) or b"{}")
        payload = await _read(reader, head.get("payload_length"), _LONGEST_PAYLOAD)
    except (ValueError, asyncio.IncompleteReadError) as error:  # ValueError: a line that is too long
        raise BrokenEvent("not an event") from error
    if not isinstance(head.get("type"), str):
        raise BrokenEvent("an event without a type")
    return Event(head["type"], data, payload)


def _object(value: object) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, bytes) else value
    except (ValueError, RecursionError) as error:
        raise BrokenEvent("not JSON") from error
    if not isinstance(found, dict):
        raise BrokenEvent("not a JSON object")
    return found


async def _read(reader: asyncio.StreamReader, length: object, most: int) -> bytes:
    if length is None:
        return b""
    if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length <= most:
        raise BrokenEvent(f"a length that is none: expected 0 to {most}")
    return await reader.readexactly(length)


def write_event(event: Event) -> bytes:
    """The bytes of an event."""
    data = json.dumps(event.data).encode() if event.data else b""
    head: dict[str, Any] = {"type": event.type, "version": _VERSION}
    if data:
        head["data_length"] = len(data)
    if event.payload:
        head["payload_length"] = len(event.payload)
    return json.dumps(head).encode() + b"\n" + data + event.payload
