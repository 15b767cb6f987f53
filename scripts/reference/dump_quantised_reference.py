"""Write tests/checkpoint/data/quantised_reference.npz: one matrix in int8 by CTranslate2 and in q8_0 by ggml itself.

Run where ctranslate2 4.8.5 and pywhispercpp 1.5.1, which brings ggml 0.13.1, are installed:
python scripts/reference/dump_quantised_reference.py path/to/libggml-base.so
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUT = Path(__file__).resolve().parents[2] / "tests" / "checkpoint" / "data" / "quantised_reference.npz"
SHAPE = (64, 128)
Q8_0 = 8
"""ggml's number of the kind."""


def matrix() -> NDArray[np.float32]:
    """Weights of trained ones' size; among them a row of zeros, one with ties, and a tiny one."""
    values = (np.random.default_rng(0).standard_normal(SHAPE, np.float32) / 32).astype(np.float16).astype(np.float32)
    values[1] = 0
    values[2] = np.linspace(-127, 127, SHAPE[1], dtype=np.float32).round() / 2
    values[2, 0] = 127
    values[3] = np.float32(6e-8) * (np.arange(SHAPE[1]) % 3)
    return values


def by_ctranslate2(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """What its converters write: the int8 values, and the scale of each row."""
    from ctranslate2.specs.common_spec import LinearSpec

    layer: Any = LinearSpec()
    layer.weight, layer.bias = values.copy(), np.zeros(len(values), np.float32)
    layer.validate()
    layer.optimize("int8")
    return layer.weight.numpy(), layer.weight_scale.numpy()


def by_ggml(values: NDArray[np.float32], library: ctypes.CDLL) -> NDArray[np.uint8]:
    """Blocks of 32 values, (n_blocks, 34) bytes."""
    blocks = np.empty((values.size // 32, 34), np.uint8)
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    source, target = (array.ctypes.data_as(ctypes.c_void_p) for array in (values, blocks))
    sizes = (ctypes.c_int64(0), ctypes.c_int64(values.shape[0]), ctypes.c_int64(values.shape[1]))
    if library.ggml_quantize_chunk(Q8_0, source, target, *sizes, None) != blocks.size:
        raise SystemExit("ggml wrote another number of bytes")
    return blocks


def main() -> None:
    """Quantise one matrix by both and keep it with what they made of it."""
    values = matrix()
    int8, scale = by_ctranslate2(values)
    q8_0 = by_ggml(np.ascontiguousarray(values), ctypes.CDLL(sys.argv[1]))
    np.savez_compressed(OUT, matrix=values, int8=int8, int8_scale=scale, q8_0=q8_0)


if __name__ == "__main__":
    main()
