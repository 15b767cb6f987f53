"""The voice of a short recording in which one person speaks, to know that person by in another recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.waveform import Waveform
from whisper_max.model.speakers.shapes import N_FRAMES, WINDOW_SAMPLES
from whisper_max.speakers.diarize import Networks
from whisper_max.speakers.voices import voice_features
from whisper_max.speakers.windows import filled, heard

Float32 = NDArray[np.float32]
_PARTS = 4  # in which the voice is heard: their mean tells people apart far better than one of them


def voice_of(waveform: Waveform, networks: Networks) -> Float32 | None:
    """The voice of whoever speaks most in the first 10 s, (EMBEDDING,); None where nobody does for half a second.

    Raises:
        AudioError: a spooled recording can't be read back.
    """
    samples = filled(waveform.read(0, WINDOW_SAMPLES))
    alone = heard(0, networks.segment(samples, [0])[0]).alone
    longest = alone[:, alone.sum(axis=0).argmax()]
    part_of = np.arange(N_FRAMES) * _PARTS // N_FRAMES
    features = [voice_features(samples, longest & (part_of == part)) for part in range(_PARTS)]
    voices = [len(each) * networks.embed([each])[0] for each in features if each is not None]
    if not voices:
        return None
    mean = np.sum(voices, axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
