"""Hugging Face checkpoints: ``config.json`` and safetensors, single or sharded.

A safetensors file is a u64 header length, a JSON header of name to dtype, shape and byte range, then the data. The
safetensors library judges whether the file is sound; the tensors are mapped, not copied.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.names.huggingface import TABLE
from whisper_max.checkpoint.table import apply_table
from whisper_max.checkpoint.tensors import StoredTensor, Tensors
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_safetensors(shards: Sequence[Path], dims: ModelDimensions) -> Tensors:
    """The tensors of a Hugging Face checkpoint.

    Raises:
        CheckpointError: a damaged file, a tensor stored twice, or tensors other than a Whisper model of ``dims`` has.
    """
    stored: dict[str, StoredTensor] = {}
    for shard in shards:
        for tensor in _read_shard(shard):
            if tensor.name in stored:
                raise CheckpointError(f"{tensor.name} is stored twice", where=shard)
            stored[tensor.name] = tensor
    return apply_table(TABLE, stored, dims, shards[0] if len(shards) == 1 else shards[0].parent)


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
    header = json.loads(file.read(8, length, "the header").tobytes(), object_pairs_hook=partial(_distinct, path))
    return header, 8 + length


def _read_shard(path: Path) -> list[StoredTensor]:
    file = FileBytes([path])
    header, start = read_header(path, file)
    return [
        StoredTensor(
            file,
            name,
            offset=start + entry["data_offsets"][0],
            dtype=_DTYPES.get(entry["dtype"], entry["dtype"]),
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    ]


def _distinct(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    distinct = dict(pairs)
    if len(distinct) != len(pairs):
        twice = next(name for index, (name, _) in enumerate(pairs) if name in dict(pairs[:index]))
        raise CheckpointError(f"{twice} is stored twice", where=path)
    return distinct
