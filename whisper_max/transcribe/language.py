"""The language of a recording, from its first windows."""

from __future__ import annotations

from collections.abc import Iterator

from whisper_max.audio.mel import N_FRAMES
from whisper_max.decode.contract import AudioFeatures, Inference
from whisper_max.decode.language import DetectedLanguage, detect_language, most_likely_language
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.sound import Sound
from whisper_max.transcribe.window import Mel


def find_language(
    inference: Inference, tokenizer: Tokenizer, mel: Mel, options: TranscribeOptions, sound: Sound | None
) -> tuple[DetectedLanguage, AudioFeatures | None]:
    """The language of the first windows, of those that are not silent where the sound is known.

    Returns:
        the language, and the features of the window at 0 where that was encoded and is a whole one (a shorter
        recording's first window has other padding).
    """
    encoded: AudioFeatures | None = None

    def windows() -> Iterator[DetectedLanguage]:
        """The language of each, when asked for."""
        nonlocal encoded
        n_windows = min(options.language_detection_segments, max(1, -(-mel.n_frames // N_FRAMES)))
        seeks = range(0, n_windows * N_FRAMES, N_FRAMES) if sound is None else sound.windows(n_windows)
        for seek in seeks:
            features = inference.encode(mel.window(seek)[None])
            if seek == 0 and mel.n_frames >= N_FRAMES:
                encoded = features
            yield detect_language(inference, tokenizer, features)[0]

    detected = most_likely_language(windows(), options.language_detection_threshold)
    return detected, encoded
