"""G.711, the speech codec of telephones: a byte a sample, 8000 a second, in two laws (ITU-T G.711)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _mu_law() -> NDArray[np.int16]:
    """14-bit values of the complemented bytes, table 2a: exponent and mantissa, above a bias of 33; here in 16 bits."""
    code = ~np.arange(256, dtype=np.uint8)
    magnitude = ((((code & 0x0F).astype(np.int32) << 1) + 33) << (code >> 4 & 7)) - 33
    return (np.where(code & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


def _a_law() -> NDArray[np.int16]:
    """13-bit values of the bytes with every other bit inverted, table 1a; here in 16 bits."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 0x0F).astype(np.int32)
    magnitude = np.where(exponent == 0, (mantissa << 1) + 1, ((mantissa << 1) + 33) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) << 3).astype(np.int16)


_TABLES = {"audio/pcmu": _mu_law(), "audio/pcma": _a_law()}


def decode_g711(data: bytes, format: str) -> NDArray[np.int16]:
    """The samples of as many bytes, (n,) int16.

    Args:
        data: a byte a sample.
        format: ``audio/pcmu`` or ``audio/pcma``.
    """
    return _TABLES[format][np.frombuffer(data, np.uint8)]
