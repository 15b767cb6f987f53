"""Which language is spoken in a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whisper_max.decode.inference import AudioFeatures, Inference
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class DetectedLanguage:
    """code: the likeliest language. probabilities: of each code, summing to 1."""

    code: str
    probabilities: dict[str, float]

    @property
    def probability(self) -> float:
        """That of the likeliest language."""
        return self.probabilities[self.code]


def detect_language(inference: Inference, tokenizer: Tokenizer, features: AudioFeatures) -> list[DetectedLanguage]:
    """The language of each window: what the model would say right after the start of the transcript.

    Raises:
        OptionError: an English-only model has no language tokens.
    """
    if not inference.dims.is_multilingual:
        raise OptionError("an English-only model can't detect languages", where="language")
    windows = range(features.n_windows)
    batch = inference.new_batch(features)
    logits = batch.prefill(windows, [[tokenizer.sot]] * len(windows), [[-1]] * len(windows))
    spoken = logits[:, -1, list(tokenizer.all_language_tokens)]  # (n_windows, n_languages)
    weights = np.exp(spoken - spoken.max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return [_likeliest(tokenizer.all_language_codes, row) for row in probabilities.tolist()]


def _likeliest(codes: Sequence[str], probabilities: Sequence[float]) -> DetectedLanguage:
    by_code = dict(zip(codes, probabilities, strict=True))
    return DetectedLanguage(max(by_code, key=by_code.__getitem__), by_code)
