"""Numbers in bfloat16, which NumPy has not."""

from __future__ import annotations

from typing import Any

import numpy as np
from max.driver import Buffer
from max.dtype import DType
from numpy.typing import NDArray


def rounded(values: NDArray[Any], dtype: DType) -> NDArray[np.float32]:
    """The nearest values of a dtype, as float32."""
    if dtype == DType.float32:
        return np.ascontiguousarray(values, np.float32)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def of_buffer(buffer: Buffer) -> NDArray[np.float32]:
    """What a buffer on a CPU holds."""
    if buffer.dtype == DType.bfloat16:
        return (buffer.view(DType.uint16, buffer.shape).to_numpy().astype(np.uint32) << 16).view(np.float32)
    return np.asarray(buffer.to_numpy(), np.float32)
