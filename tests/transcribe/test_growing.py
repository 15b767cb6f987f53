"""Which windows of a recording that grows its own encoder encodes."""

from __future__ import annotations

import numpy as np

from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.window import Window


class Encoder:
    def __init__(self):
        self.heard = []

    def encode(self, mel):
        self.heard.append(mel)
        return f"features {len(self.heard)}"


def recording(encoder, seconds=3, language="en"):
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, seconds * 16000).astype(np.float32)
    options, inference = TranscribeOptions(language=language), FakeInference()
    n_mels = inference.dims.n_mels
    made = open_recording(
        ArrayWaveform(samples), synthetic_vocabulary(), n_mels, options, encode=encoder and encoder.encode
    )
    made.begin(inference)
    return made


def test_the_first_window_is_the_encoders():
    encoder = Encoder()
    made = recording(encoder)
    assert made.encoded(Window(0, 300, ())) == "features 1"
    np.testing.assert_array_equal(encoder.heard[0], made.mel.window(0, 300))


def test_a_second_window_is_encoded_as_any_other():
    encoder = Encoder()
    assert recording(encoder).encoded(Window(120, 180, ())) is None
    assert not encoder.heard


def test_a_window_whose_language_was_looked_for_is_not_encoded_twice():
    encoder = Encoder()
    assert recording(encoder, seconds=30, language=None).encoded(Window(0, 3000, ())) is not None
    assert not encoder.heard


def test_without_an_encoder_every_window_is_encoded_as_any_other():
    assert recording(None).encoded(Window(0, 300, ())) is None
