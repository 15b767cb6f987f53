"""Tiny checkpoints as other programs quantise them: MLX's folders, CTranslate2's integers, ggml's blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoint import conftest as writers
from tests.checkpoint import test_mlx as mlx
from tests.checkpoint import test_quantised as integers
from whisper_max.checkpoint.ggml_blocks import KINDS

# What the tests of these formats write with; tests are not typed.
_to_mlx: Callable[..., Any] = mlx.to_mlx
_to_mlx_groups: Callable[..., Any] = mlx.quantised
_write_mlx: Callable[..., Any] = mlx.write
_to_int8: Callable[..., Any] = integers.ctranslate2_int8
_to_int16: Callable[..., Any] = integers.ctranslate2_int16
_write_ctranslate2: Callable[..., Any] = integers.write

_DIMS = replace(writers.DIMS, n_audio_state=32, n_text_state=32)  # rows of whole blocks and groups
_WIDE = 256  # of blocks that are larger


def write_quantised(root: Path) -> None:
    """Write a folder for each kind."""
    every = writers.Writers()
    state = writers.random_state(_DIMS)
    _write_mlx(every, root / "mlx", _DIMS, _to_mlx(state))
    for bits in (2, 4, 8):
        stored, _ = _to_mlx_groups(state, bits)
        _write_mlx(every, root / f"mlx-{bits}", _DIMS, stored, quantization={"group_size": mlx.GROUP, "bits": bits})
    variables = writers.STORED["ctranslate2"](writers.random_state(writers.DIMS))
    _write_ctranslate2(every, _made(root / "ctranslate2-int8"), _to_int8(every, variables))
    _write_ctranslate2(every, _made(root / "ctranslate2-int16"), _to_int16(every, variables))
    for code, kind in KINDS.items():
        _write_blocks(_made(root / f"ggml-{kind.name}") / "ggml-model.bin", code)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_blocks(path: Path, code: int) -> None:
    """A file of ggml whose matrices are blocks of one kind, zero but for their scales."""
    kind = KINDS[code]
    dims = _DIMS if kind.n_elements <= _DIMS.n_text_state else replace(_DIMS, n_audio_state=_WIDE, n_text_state=_WIDE)
    body = [writers.ggml_header(dims)]
    for name, array in writers.random_state(dims).items():
        if array.ndim == 2 and "positional" not in name:
            blocks = struct.pack("<e", 0.01) + bytes(kind.n_bytes - 2)
            body.append(writers.ggml_tensor(name, array.shape, code, blocks * (array.size // kind.n_elements)))
        else:
            shape = (*array.shape, 1) if name in ("encoder.conv1.bias", "encoder.conv2.bias") else array.shape
            body.append(writers.ggml_tensor(name, shape, 0, np.asarray(array, "<f4").tobytes()))
    path.write_bytes(b"".join(body))
