"""The peers' ``pad_or_trim``: samples or frames, cut or filled up to one length."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def padded_or_trimmed(array: NDArray[Any], length: int, axis: int) -> NDArray[Any]:
    """The first ``length`` entries along an axis, with zeros after them where there are fewer."""
    kept = [slice(None)] * array.ndim
    kept[axis] = slice(length)
    missing = [(0, 0)] * array.ndim
    missing[axis] = (0, max(0, length - array.shape[axis]))
    return np.pad(array[tuple(kept)], missing).view(type(array))
