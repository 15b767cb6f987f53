"""What a process that decodes says: frames of a kind, a length and so many bytes."""

from __future__ import annotations

import struct
from enum import Enum

HEAD = struct.Struct("<cI")  # of a frame: kind, bytes that follow
LARGEST = 16 << 20  # bytes of a frame; samples come in blocks far below it
WANTED = struct.Struct("<H")  # of the parent's one frame: bytes of JSON, how the recording is to be read
ORDER = struct.Struct("<ci")  # what the parent says: kind, and the process that it is about


class Kind(Enum):
    """Of a frame.

    STARTED: the id of the process, 4 bytes. CHANNELS: how many of them the samples from here on have, one byte, where
    they stay apart. SAMPLES: float32 at 16 kHz. WARNING: an ``AudioWarning`` as JSON.
    REFUSED: an ``AudioError`` as JSON. FAULT: what else was raised, as text. DONE: the recording ends here.
    """

    STARTED = b"P"
    CHANNELS = b"C"
    SAMPLES = b"S"
    WARNING = b"W"
    REFUSED = b"R"
    FAULT = b"F"
    DONE = b"D"


DECODE, DECODE_LATER, KILL = b"D", b"L", b"K"
"""Orders: decode what comes with it; so too, after all that is more urgent; end a process."""
