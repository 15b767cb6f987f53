"""Recordings that have begun, from a mel."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.audio.warnings import AudioWarning
from whisper_max.decode.contract import Inference
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.check import check_options
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.speech import Speech
from whisper_max.transcribe.tidy import Tidy
from whisper_max.transcribe.window import Mel


def begun(
    inference: Inference,
    vocabulary: Vocabulary,
    mel: Mel,
    options: TranscribeOptions | None = None,
    speech: Speech | None = None,
    warnings: Sequence[AudioWarning] = (),
    *,
    sound: Sound | None = None,
) -> Recording:
    """A recording whose options are possible for the model, and whose language is known."""
    options = options or TranscribeOptions()
    check_options(inference.dims, vocabulary, options)
    recording = Recording(vocabulary, mel, options, speech, warnings, None if sound is None else Tidy(sound))
    recording.begin(inference)
    return recording
