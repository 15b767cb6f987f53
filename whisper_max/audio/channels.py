"""Which channel of a recording is which speaker, and how much of each goes into one channel.

The weights are those of FFmpeg's down-mix (libswresample, rematrix.c), which openai-whisper and faster-whisper hear, as
it makes them for whole numbers: ITU-R BS.775's for 5.1, what follows from it for other layouts, scaled to a sum of 1.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Layout: TypeAlias = "tuple[str, ...]"
"""The speakers of the channels, in their order, by FFmpeg's names: ``FL``, ``FR``, ``FC``, ``LFE``, ``BL``, ..."""

# Bit 0 and up of dwChannelMask in WAVEFORMATEXTENSIBLE, and of Core Audio's channel bitmap.
_MASK: Layout = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)

# What FFmpeg takes a number of channels for where nothing is said of them (av_channel_layout_default).
_TOP = ("TFL", "TFR", "TBL", "TBR")
_DEFAULTS: dict[int, Layout] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "LFE"),
    4: ("FL", "FR", "FC", "BC"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
    10: ("FL", "FR", "FC", "LFE", "BL", "BR", *_TOP),
    12: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR", *_TOP),
    14: ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "SL", "SR", *_TOP),
    16: ("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "SL", "SR", *_TOP, "TSL", "TSR"),
    24: (*_MASK[:9], "SL", "SR", *_MASK[11:], "LFE2", "TSL", "TSR", "BFC", "BFL", "BFR"),
}

_FRONT = {"FC": 1.0} | dict.fromkeys(("FL", "FR", "FLC", "FRC", "TFL", "TFR", "DL", "DR"), 0.5**0.5)
_WEIGHTS = _FRONT | dict.fromkeys(("BL", "BR", "BC", "SL", "SR"), 0.5)  # a speaker that is not named: 0
_HEARD_OF_24 = frozenset((*_MASK[:9],))  # of 22.2, FFmpeg mixes its 7.1(wide) and back centre alone


def default_layout(n_channels: int) -> Layout | None:
    """The speakers of so many channels of which nothing is known; None where FFmpeg has no layout for the number."""
    return _DEFAULTS.get(n_channels)


def mask_layout(mask: int, n_channels: int) -> Layout | None:
    """The speakers by a mask of a bit each; None where it names more or fewer than there are channels."""
    layout = tuple(name for bit, name in enumerate(_MASK) if mask >> bit & 1)
    return layout if len(layout) == n_channels and mask >> len(_MASK) == 0 else None


def mix_weights(layout: Layout | None, n_channels: int) -> NDArray[np.float32]:
    """How much of each channel goes into one.

    Args:
        layout: the speakers; None where nothing is known of them: then those of FFmpeg's layout for the number of
            channels and, where it has none and refuses to mix, all channels alike.
        n_channels: in all.

    Returns:
        (n_channels,) float32, 0 or more, with a sum of 1. Of an ambisonic field its omnidirectional channel; all
        channels alike where no speaker of the layout has a weight.
    """
    layout = layout or default_layout(n_channels) or ()
    weights = np.array([_weight(name, n_channels) for name in layout])
    if not weights.any():
        weights = np.ones(n_channels)
    return np.asarray(weights / weights.sum(), np.float32)


def _weight(name: str, n_channels: int) -> float:
    if name.startswith("AMBI"):
        return float(name == "AMBI0")
    if n_channels == 24 and name not in _HEARD_OF_24:
        return 0.0
    return _WEIGHTS.get(name, 0.0)
