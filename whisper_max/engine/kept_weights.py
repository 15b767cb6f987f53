"""Int8 weights kept in the cache as the graphs read them, and mapped from there.

To round the base model's weights takes 0.3 s of two cores, large-v3-turbo's five seconds. A kept file is mapped: it
takes no time to read, no memory beside the weights, and processes share it. It is named by all that it was made from:
the contents of the weight files, and the code that reads and rounds them.

A file holds the length of a JSON object (u64, little-endian), that object, {name: [dtype, shape, offset]}, and the
weights, the offsets counted from the next page on; it ends with a whole page.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max import checkpoint, dims, model
from whisper_max.engine import weights
from whisper_max.engine.weights import MakeAll
from whisper_max.files.atomic import whole_file
from whisper_max.files.cache import cache_dir

Weights = dict[str, NDArray[Any]]
_LENGTH = struct.Struct("<Q")
_PAGE = 4096
_SPARE = 4  # times its size must be free on the disk before a file is kept


def kept_weights(content: str, report: Callable[[str], object], make: MakeAll) -> Weights:
    """What ``make`` makes, from the cache where it was made before.

    What is new is written by a thread of its own, which nobody has to wait for. Where the cache can't be read or
    written, or has little room, or the file in it is not whole, ``make`` is called each time.

    Args:
        content: names the contents of the files that the weights are made from, and what of them is taken.
        report: called with a line for people where a file will be kept.
        make: makes the weights.
    """
    source = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = cache_dir() / "weights" / f"{source}-{_code()}.int8"
    found = _mapped(path)
    if found is None:
        found = make()
        n_bytes = sum(array.nbytes for array in found.values())
        if _has_room(path, _SPARE * n_bytes):
            report(f"keeping the int8 weights for the next time: {path} ({n_bytes >> 20} MiB)")
            threading.Thread(target=_keep, args=(path, found), name="keep weights").start()
    return found


@cache
def _code() -> str:
    """A digest of the code that decides what weights are: readers of checkpoints, and what puts them in order."""
    files = [*Path(checkpoint.__file__).parent.rglob("*.py"), *Path(model.__file__).parent.glob("*.py")]
    files += [Path(str(module.__file__)) for module in (weights, dims)] + [Path(__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


def _has_room(path: Path, n_bytes: int) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(path.parent).free > n_bytes
    except OSError:
        return False


def _keep(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file in place of those that other code made of the same weights."""
    header: dict[str, tuple[str, tuple[int, ...], int]] = {}
    end = 0
    for name, array in arrays.items():
        header[name] = (array.dtype.str, array.shape, end)
        end += -(-array.nbytes // _PAGE) * _PAGE
    text = json.dumps(header).encode()
    begin = -(-(_LENGTH.size + len(text)) // _PAGE) * _PAGE
    with suppress(OSError), whole_file(path) as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for name, array in arrays.items():
            file.seek(begin + header[name][2])
            file.write(np.ascontiguousarray(array).data)
        file.truncate(begin + end)
    for other in path.parent.glob(f"{path.name.partition('-')[0]}-*"):
        if other != path:
            other.unlink(missing_ok=True)


def _mapped(path: Path) -> Weights | None:
    """The weights in a file, their pages shared until they are written; None where there is none, or no whole one."""
    try:
        with path.open("rb") as file, suppress(ValueError, KeyError, TypeError, struct.error):
            memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
            if len(memory) % _PAGE:
                return None
            (length,) = _LENGTH.unpack_from(memory)
            begin = -(-(_LENGTH.size + length) // _PAGE) * _PAGE
            header = json.loads(bytes(memory[_LENGTH.size : _LENGTH.size + length]))
            return {name: _array(memory[begin:], *place) for name, place in header.items()}
    except OSError:
        pass
    return None


def _array(memory: memoryview, dtype: str, shape: list[int], offset: int) -> NDArray[Any]:
    return np.frombuffer(memory, np.dtype(dtype), prod(shape), offset).reshape(shape)
