"""Random changes to bytes and to JSON."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    64,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
_LAYOUTS = ("<H", ">H", "<I", ">I", "<Q", ">Q")
_HEAD = 2048  # bytes in which headers are
_MOST_CHANGES = 6
_MOST_BYTES = 4 << 20  # of what a case may grow to

Random = random.Random
_VALUES: tuple[Callable[[Random], Any], ...] = (
    lambda random: None,
    lambda random: random.choice((True, False)),
    lambda random: random.choice((0, -1, 1, 2, 1 << 31, 1 << 63, -(1 << 63), 1 << 200, 10**400)),
    lambda random: random.choice((0.0, -0.5, 1e308, -1e-320, float("inf"), float("nan"))),
    lambda random: random.choice(("", "\0", "x" * 5000, "\ud800", "../../etc", "é" * 50, "__proto__", "1e999")),
    lambda random: random.choice(([], {}, [[]], {"": {}}, [None] * 2000)),
    lambda random: _nested(random.randrange(1, 300)),
)


def changed(content: bytes, random: Random) -> bytes:
    """Content with one to six random changes, half of them near its start."""
    data = bytearray(content)
    for _ in range(random.randint(1, _MOST_CHANGES)):
        random.choice(_CHANGES)(data, random)
        del data[_MOST_BYTES:]
    return bytes(data)


def changed_json(content: bytes, random: Random) -> bytes:
    """JSON text of which one to three values or names are others; bytes are changed where it is no JSON."""
    try:
        value = json.loads(content)
    except ValueError:
        return changed(content, random)
    for _ in range(random.randint(1, 3)):
        value = _with_change(value, random)
    return json.dumps(value).encode()


def _with_change(value: Any, random: Random) -> Any:  # noqa: ANN401 - JSON
    if random.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return random.choice(_VALUES)(random)
    if isinstance(value, list):
        place = random.randrange(len(value))
        return [*value[:place], _with_change(value[place], random), *value[place + random.choice((0, 1, 1, 2)) :]]
    name = random.choice(list(value))
    what = random.random()
    if what < 0.1:
        return {other: content for other, content in value.items() if other != name}
    if what < 0.2:
        return value | {random.choice(("", "x" * 300, "\ud800", name + "2")): value[name]}
    return value | {name: _with_change(value[name], random)}


def _nested(depth: int) -> Any:  # noqa: ANN401 - JSON
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


# ---------------------------------------------------------------- changes of bytes, in place


def _place(data: bytearray, random: Random) -> int:
    size = len(data)
    return random.randrange(min(size, _HEAD) if random.random() < 0.5 else size) if size else 0


def _range(data: bytearray, random: Random) -> slice:
    start = _place(data, random)
    return slice(start, start + random.choice((1, 2, 4, 16, 256, 4096, 65536)))


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _write(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] = random.randrange(256)


def _write_number(data: bytearray, random: Random) -> None:
    layout, number = random.choice(_LAYOUTS), random.choice(_NUMBERS)
    raw = struct.pack(layout, number & ((1 << 8 * struct.calcsize(layout)) - 1))
    start = _place(data, random)
    data[start : start + len(raw)] = raw


def _remove(data: bytearray, random: Random) -> None:
    del data[_range(data, random)]


def _repeat(data: bytearray, random: Random) -> None:
    part = _range(data, random)
    data[part] = data[part] * random.choice((2, 3, 50))


def _zero(data: bytearray, random: Random) -> None:
    part = _range(data, random)
    data[part] = bytes(len(data[part]))


def _noise(data: bytearray, random: Random) -> None:
    part = _range(data, random)
    data[part] = random.randbytes(len(data[part]))


def _insert(data: bytearray, random: Random) -> None:
    start = _place(data, random)
    data[start:start] = random.randbytes(random.choice((1, 2, 7, 64, 1024)))


def _move(data: bytearray, random: Random) -> None:
    part = _range(data, random)
    moved = data[part]
    del data[part]
    start = _place(data, random)
    data[start:start] = moved


def _cut(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


_CHANGES = (_flip, _flip, _write, _write_number, _write_number, _remove, _repeat, _zero, _noise, _insert, _move, _cut)
