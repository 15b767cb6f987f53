"""Writing whisper.cpp's ggml: float16 matrices, or q8_0 blocks; the layout is in ``ggml``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.ggml import HPARAMS, MAGIC
from whisper_max.checkpoint.layout import LOGITS
from whisper_max.checkpoint.names.ggml import COLUMNS
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import Vocabulary
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.files.atomic import whole_file

Float32 = NDArray[np.float32]

FILE_TYPES = {"f16": 1, "q8_0": 2007}
"""What the header calls a file: ggml's number, and 1000 times the version of its blocks."""
_BLOCK = 32
_PUBLISHED = {50256: (51864,), 50257: (51865, 51866)}
"""Embeddings of the models that whisper.cpp knows, by their tokens of text: it counts all other ids from them."""


def write_ggml(
    path: Path, dims: ModelDimensions, tensors: Tensors, vocabulary: Vocabulary, mel_filters: Float32, kind: str
) -> None:
    """Write a model as one ggml file, one tensor in memory at a time.

    Args:
        path: the file.
        dims: of the model.
        tensors: of the model.
        vocabulary: of the model.
        mel_filters: (n_mels, 201), which whisper.cpp takes from the file.
        kind: of the matrices, "f16" or "q8_0"; vectors and positions are float32, convolutions float16.

    Raises:
        OptionError: a vocabulary that whisper.cpp would take for another; logits by a matrix of their own.
        OSError: the file can't be written.
    """
    if vocabulary.words or dims.n_vocab not in _PUBLISHED.get(len(vocabulary.tokens), ()):
        raise OptionError(
            "whisper.cpp knows the published vocabularies only", where=path,
            found=f"{len(vocabulary.tokens)} tokens of text, {len(vocabulary.words)} added words, {dims.n_vocab} rows",
        )  # fmt: skip
    if LOGITS in tensors:
        raise OptionError("whisper.cpp makes logits by the token embedding, this model by another matrix", where=path)
    sizes = [FILE_TYPES[kind] if name == "ftype" else getattr(dims, name) for name in HPARAMS]
    with whole_file(path) as file:
        file.write(struct.pack(f"<{1 + len(sizes)}i", MAGIC, *sizes))
        file.write(struct.pack("<2i", *mel_filters.shape) + mel_filters.astype("<f4").tobytes())
        file.write(struct.pack("<i", len(vocabulary.tokens)))
        for token in vocabulary.tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name in tensors:
            for part in _tensor(name, tensors[name], kind):
                file.write(part)


def _tensor(name: str, array: Float32, kind: str) -> Iterator[bytes]:
    """The header of a tensor, and its data."""
    if name in COLUMNS:
        array = array.reshape(-1, 1)
    wide = array.ndim == 1 or name in COLUMNS or name.endswith("positional_embedding")
    if wide:
        code, data = 0, array.astype("<f4").tobytes()
    elif kind == "f16" or array.ndim == 3 or array.shape[-1] % _BLOCK:
        code, data = 1, array.astype("<f2").tobytes()
    else:
        code, data = 8, q8_0(array).tobytes()
    yield struct.pack(f"<{3 + array.ndim}i", array.ndim, len(name), code, *array.shape[::-1]) + name.encode()
    yield data


def q8_0(matrix: Float32) -> NDArray[np.uint8]:
    """Blocks of 32 with a float16 scale, (n_blocks, 34) bytes: ggml's ``quantize_row_q8_0_ref``, halves away from 0."""
    blocks = matrix.reshape(-1, _BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    steps = blocks * inverse
    values = np.trunc(steps + np.copysign(np.float32(0.5), steps)).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.uint8), values.view(np.uint8)], axis=1)
