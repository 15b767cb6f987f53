"""safetensors files.

One is a u64 header length, a JSON header of name to dtype, shape and byte range, then the data. The
safetensors library judges whether the file is sound; the tensors are mapped, not copied.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.tensors import InFile, Place
from whisper_max.errors import CheckpointError

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "U32": "uint32", "I32": "int32", "I64": "int64",
}  # fmt: skip


def read_header(path: Path, file: FileBytes) -> tuple[dict[str, Any], int]:
    """The JSON header of a sound safetensors file, and where its data begin.

    Raises:
        CheckpointError: a damaged file, or a tensor stored twice.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise CheckpointError("not a sound safetensors file", where=path, found=error) from error
    length = int.from_bytes(file.read(0, 8, "the header").tobytes(), "little")
    header = json.loads(file.read(8, length, "the header").tobytes(), object_pairs_hook=partial(distinct_names, path))
    return header, 8 + length


def read_shard(path: Path) -> list[InFile]:
    """The tensors of a file, in its own names.

    Raises:
        CheckpointError: as ``read_header``; a tensor of a dtype that holds no weights.
    """
    return [place.stored() for place in read_places(path).values()]


def read_places(path: Path) -> dict[str, Place]:
    """The arrays of a file, where they lie.

    Raises:
        CheckpointError: as ``read_header``.
    """
    file = FileBytes([path])
    header, start = read_header(path, file)
    return {
        name: Place(
            file,
            name,
            offset=start + entry["data_offsets"][0],
            dtype=_DTYPES.get(entry["dtype"], entry["dtype"]),
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def distinct_names(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object, none of which may come twice."""
    distinct: dict[str, Any] = {}
    for name, value in pairs:
        if name in distinct:
            raise CheckpointError(f"{name[:80]} is stored twice", where=path)
        distinct[name] = value
    return distinct
