"""What programs catch: errors of recordings and of names are the peers' kinds as well as ours, with our words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whisper_max.audio import io
from whisper_max.compat import faster_whisper, whisper
from whisper_max.errors import AudioError, UnknownModelError


@pytest.mark.parametrize("load", [whisper.load_audio, whisper.log_mel_spectrogram, faster_whisper.decode_audio])
@pytest.mark.parametrize("kind", [AudioError, RuntimeError, ValueError])
def test_what_is_no_recording(load, kind, tmp_path: Path):
    path = tmp_path / "a.wav"
    path.write_text("no sound")
    with pytest.raises(kind, match=f"^{path}: ") as error:
        load(str(path))
    with pytest.raises(AudioError) as ours:
        io.load_audio(path)
    assert str(error.value) == str(ours.value)
    assert not isinstance(error.value, OSError)


@pytest.mark.parametrize("kind", [AudioError, RuntimeError, ValueError, FileNotFoundError, OSError])
def test_a_recording_that_is_not_there(kind, native, tmp_path: Path):
    path = str(tmp_path / "none.wav")
    model = whisper.Whisper(native, "cpu")
    for load in (whisper.load_audio, faster_whisper.decode_audio, lambda path: model.transcribe(path, fp16=False)):
        with pytest.raises(kind, match=f"^{path}: no such file$"):
            load(path)
    with pytest.raises(kind):
        faster_whisper.decode_audio(path, split_stereo=True)


@pytest.mark.parametrize("kind", [UnknownModelError, RuntimeError, ValueError])
def test_a_model_that_is_not_there(kind):
    with pytest.raises(kind, match="huge"):
        whisper.load_model("huge", "cpu")
    with pytest.raises(kind, match="huge"):
        faster_whisper.WhisperModel("huge", device="cpu")


def test_other_errors_stay_what_they_are():
    with pytest.raises(AudioError, match="array: wrong dtype"):
        whisper.log_mel_spectrogram(np.array(["a"]))
