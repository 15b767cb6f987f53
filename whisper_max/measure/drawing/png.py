"""A grey or coloured image as PNG: https://www.w3.org/TR/png-3/, of which this takes the simplest form."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _DEFLATE, _ADAPTIVE, _PROGRESSIVE = 2, 0, 0, 0
# Anchors of matplotlib's "viridis" (CC0), evenly spaced: dark is little, bright is much, also for who sees no colours.
_ANCHORS = np.array(
    [
        *((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)),
        *((39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)),
    ],
    np.float64,
)


def coloured(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Values as colours, from dark blue at ``low`` to yellow at ``high``; what is not finite is white.

    Args:
        values: (height, width).

    Returns:
        (height, width, 3) uint8.
    """
    finite = np.isfinite(values)
    share = np.clip((np.where(finite, values, low) - low) / (high - low if high > low else 1.0), 0, 1)
    places = np.linspace(0, 1, len(_ANCHORS))
    channels = [np.interp(share, places, _ANCHORS[:, channel]) for channel in range(3)]
    image = np.stack(channels, axis=-1).round().astype(np.uint8)
    image[~finite] = 255
    return image


def as_png(image: NDArray[np.uint8]) -> bytes:
    """An image as a PNG file. image: (height, width, 3) uint8, red, green and blue."""
    height, width, _ = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB, _DEFLATE, _ADAPTIVE, _PROGRESSIVE)
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0 for none
    rows[:, 1:] = image.reshape(height, 3 * width)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
