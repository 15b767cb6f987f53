"""ggml's own quantising, where pywhispercpp has brought its library."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ggml_library() -> Path | None:
    """ggml's own code, which pywhispercpp brings."""
    spec = find_spec("_pywhispercpp")
    place = Path(spec.origin).parent if spec is not None and spec.origin else Path("nowhere")
    return next(iter(sorted(place.glob("libggml-base.so"))), None)


def by_ggml(array: NDArray[Any], code: int) -> bytes:
    """A matrix in blocks, quantised by ggml itself."""
    library = ctypes.CDLL(str(ggml_library()))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_row_size.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    rows, width = array.shape
    blocks = np.empty(rows * library.ggml_row_size(code, width), np.uint8)
    source = np.ascontiguousarray(array, np.float32)
    pointer, target = source.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p)
    sizes = (ctypes.c_int64(0), ctypes.c_int64(rows), ctypes.c_int64(width))
    assert library.ggml_quantize_chunk(code, pointer, target, *sizes, None) == len(blocks)
    return blocks.tobytes()
