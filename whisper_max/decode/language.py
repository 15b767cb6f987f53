"""Which language is spoken in a window or at the start of a recording, and which models can translate it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whisper_max.decode.contract import AudioFeatures, DecoderBatch, Inference
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from whisper_max.decode.attempt import Attempt


@dataclass(frozen=True)
class DetectedLanguage:
    """code: the likeliest language. probabilities: of each code, summing to 1."""

    code: str
    probabilities: dict[str, float]

    @property
    def probability(self) -> float:
        return self.probabilities[self.code]


def detect_language(inference: Inference, tokenizer: Tokenizer, features: AudioFeatures) -> list[DetectedLanguage]:
    """The language of each window: what the model would say right after the start of the transcript.

    Raises:
        OptionError: an English-only model has no language tokens.
    """
    if not tokenizer.vocabulary.is_multilingual:
        raise OptionError(
            "an English-only model can't detect languages", where="language", hint="take a model without .en"
        )
    windows = range(features.n_windows)
    batch = inference.new_batch(len(windows))
    batch.put(windows, features)
    return detect_in_batch(batch, windows, tokenizer)


def detect_in_batch(batch: DecoderBatch, windows: Sequence[int], tokenizer: Tokenizer) -> list[DetectedLanguage]:
    """The language of windows of a batch; they must be prefilled after it."""
    logits = batch.prefill(windows, [[tokenizer.sot]] * len(windows), [[-1]] * len(windows))
    languages = list(tokenizer.all_language_tokens)
    spoken = np.ascontiguousarray(logits[:, -1, languages])  # (n_windows, n_languages); each row summed alike
    weights = np.exp(spoken - spoken.max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    return [_likeliest(tokenizer.all_language_codes, row) for row in probabilities.tolist()]


def detect_undetected(batch: DecoderBatch, attempts: Mapping[int, Attempt]) -> None:
    """Tell attempts, by their slots in a batch, the languages of their windows; they must be prefilled after it."""
    tokenizer = next(iter(attempts.values())).task.tokenizer
    languages = detect_in_batch(batch, list(attempts), tokenizer)
    for attempt, language in zip(attempts.values(), languages, strict=True):
        attempt.detected = language


def _likeliest(codes: Sequence[str], probabilities: Sequence[float]) -> DetectedLanguage:
    by_code = dict(zip(codes, probabilities, strict=True))
    return DetectedLanguage(max(by_code, key=by_code.__getitem__), by_code)


def most_likely_language(windows: Iterable[DetectedLanguage], threshold: float) -> DetectedLanguage:
    """The language of a recording from those of its windows, faster-whisper's rule.

    Args:
        windows: at least one; no more of them are taken than needed.
        threshold: a window that is surer than this decides alone; else the language that most windows have does, with
            the surest of them.
    """
    votes: dict[str, list[DetectedLanguage]] = {}
    for window in windows:
        if window.probability > threshold:
            return window
        votes.setdefault(window.code, []).append(window)
    chosen = max(votes.values(), key=lambda each: len(each))
    return max(chosen, key=lambda window: window.probability)


def check_translation(dims: ModelDimensions, task: str) -> None:
    """Refuse to translate with a model that was never trained to; it would answer in the language spoken.

    They are known by their dimensions: turbo has 4 decoder blocks for 32 of the encoder, the distil models 2 for more.
    English-only models are refused where their tokenizer is built.

    Raises:
        OptionError: the task is to translate, and the model is turbo or a distil model.
    """
    if task != "translate":
        return
    blocks = (dims.n_audio_layer, dims.n_text_layer)
    if blocks == (32, 4) or (dims.n_text_layer == 2 and dims.n_audio_layer > 2):
        name = "turbo" if blocks == (32, 4) else "a distil model"
        raise OptionError(
            f"{name} can't translate, it was trained to transcribe only",
            where="task",
            hint="use large-v3, medium or another multilingual model of OpenAI's",
        )
