"""Writing a CTranslate2 folder with int8 matrices; the layout of ``model.bin`` is in ``ctranslate2``."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.ctranslate2 import BINARY_VERSION, SPEC_NAME, SPEC_REVISION
from whisper_max.checkpoint.layout import LOGITS
from whisper_max.checkpoint.names.ctranslate2 import ALIASES, HEADS, PROJECTION, SETTINGS, TABLE
from whisper_max.checkpoint.own_format import is_matrix
from whisper_max.checkpoint.table import KEY_BIAS, expand
from whisper_max.checkpoint.tensors import QuantizedTensor, Tensors
from whisper_max.checkpoint.vocabulary import Vocabulary, token_texts
from whisper_max.dims import ModelDimensions
from whisper_max.files.atomic import whole_file

Float32 = NDArray[np.float32]
_FLOAT32, _INT8, _INT16 = 0, 1, 2


def write_ctranslate2(
    folder: Path,
    dims: ModelDimensions,
    tensors: Tensors,
    vocabulary: Vocabulary,
    special_tokens: dict[str, int],
    config: Mapping[str, object],
) -> None:
    """Write ``model.bin`` with int8 matrices, ``vocabulary.json`` and ``config.json``, one tensor in memory at a time.

    Args:
        folder: made when missing.
        dims: of the model.
        tensors: of the model; int8 that it has stays as it is.
        vocabulary: of the model.
        special_tokens: every special token of the model to its id, timestamps included.
        config: the content of config.json: alignment_heads, lang_ids, suppress_ids, suppress_ids_begin.

    Raises:
        OSError: a file can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = token_texts(vocabulary.tokens) | special_tokens | vocabulary.words
    listed = [f"<|unused{row}|>" for row in range(dims.n_vocab)]
    for text, token in texts.items():
        listed[token] = text
    for name, content in (("vocabulary.json", listed), ("config.json", config)):
        with whole_file(folder / name) as file:
            file.write(json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n")
    with whole_file(folder / "model.bin") as file:
        _write_model(file, dims, tensors)


def _write_model(file: BinaryIO, dims: ModelDimensions, tensors: Tensors) -> None:
    matrices = {name for name in tensors if is_matrix(name, tensors.shape(name))}
    stacked = expand(TABLE.tensors, dims)
    if LOGITS in tensors:
        stacked[PROJECTION] = (LOGITS,)
    n_narrow = sum(max(parts) in matrices for parts in stacked.values())
    heads = dict(zip(HEADS, (dims.n_audio_head, dims.n_text_head), strict=True))
    scalars = [(name, _INT8, struct.pack("<b", value)) for name, value in SETTINGS.items()]
    scalars += [(name, _INT16, struct.pack("<h", value)) for name, value in heads.items()]
    file.write(struct.pack("<I", BINARY_VERSION) + _string(SPEC_NAME))
    file.write(struct.pack("<II", SPEC_REVISION, len(scalars) + len(stacked) + n_narrow))
    for name, code, raw in scalars:
        file.write(_variable(name, (), code, raw))
    for name, parts in stacked.items():
        for variable in _stacked(name, parts, tensors, matrices):
            file.write(variable)
    aliases = {} if LOGITS in tensors else ALIASES
    file.write(struct.pack("<I", len(aliases)))
    for alias, original in aliases.items():
        file.write(_string(alias) + _string(original))


def _stacked(name: str, parts: Sequence[str], tensors: Tensors, matrices: set[str]) -> Iterator[bytes]:
    """The variable of some tensors stacked, and its scales where it is a matrix."""
    shape = tensors.shape(max(parts))
    whole = (shape[0] * len(parts), *shape[1:])
    if max(parts) not in matrices:
        arrays = [np.zeros(shape, np.float32) if part == KEY_BIAS else tensors[part] for part in parts]
        yield _variable(name, whole, _FLOAT32, np.concatenate(arrays).astype("<f4").tobytes())
        return
    narrow = [_narrow(tensors, part) for part in parts]
    yield _variable(name, whole, _INT8, b"".join(values.tobytes() for values, _ in narrow))
    scales = np.concatenate([scale for _, scale in narrow]).astype("<f4")
    yield _variable(f"{name}_scale", scales.shape, _FLOAT32, scales.tobytes())


def _narrow(tensors: Tensors, name: str) -> tuple[NDArray[np.int8], Float32]:
    """A matrix in int8, and what the values of each output are to be divided by: 127 / its largest magnitude."""
    entry = tensors.entry(name)
    if isinstance(entry, QuantizedTensor):
        return entry.values, np.float32(1) / entry.scale
    rows = tensors[name].reshape(entry.shape[0], -1)
    largest = np.abs(rows).max(axis=1)
    largest[largest == 0] = 127
    divisor = np.float32(127) / largest
    return np.rint(rows * divisor[:, None]).astype(np.int8), divisor


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode("ascii") + b"\0"


def _variable(name: str, shape: tuple[int, ...], code: int, raw: bytes) -> bytes:
    head = struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, code, len(raw))
    return _string(name) + head + raw
