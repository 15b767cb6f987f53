"""Decoding windows of 30 s as such: openai-whisper's ``decode``."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.decode.attempt import Attempt, Context, DecodingTask
from whisper_max.decode.contract import AudioFeatures, Float32, Inference
from whisper_max.decode.decoded import NO_THRESHOLDS, Decoded, Thresholds
from whisper_max.decode.language import check_translation
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import DecodingPool
from whisper_max.decode.prompt import text_tokens
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer


def decode(
    inference: Inference, vocabulary: Vocabulary, mel: Float32, options: DecodingOptions | None = None
) -> list[Decoded]:
    """Decode 30 s windows with the same options, openai-whisper's ``decode``.

    Args:
        mel: (n_windows, n_mels, n_frames) float32.
        options: the defaults where None; without a language each window's is detected.

    Raises:
        OptionError: an option that is impossible for this model.
    """
    return decode_features(inference, vocabulary, inference.encode(mel), options or DecodingOptions())


def decode_features(
    inference: Inference, vocabulary: Vocabulary, features: AudioFeatures, options: DecodingOptions
) -> list[Decoded]:
    """``decode`` of windows that are encoded already.

    Raises:
        OptionError: an option that is impossible for this model.
    """
    multilingual = vocabulary.is_multilingual
    check_translation(inference.dims, options.task)
    tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=options.task)
    prompt = text_tokens(tokenizer, "prompt", options.prompt)
    detects = options.language is None and multilingual
    contexts = [Context(prompt, (window,), None, detects) for window in range(features.n_windows)]
    return decode_windows(inference, tokenizer, features, contexts, [options])


def decode_windows(
    inference: Inference,
    tokenizer: Tokenizer,
    features: AudioFeatures,
    contexts: Sequence[Context],
    temperatures: Sequence[DecodingOptions],
    thresholds: Thresholds = NO_THRESHOLDS,
    *,
    max_windows: int | None = None,
) -> list[Decoded]:
    """Decode windows side by side; each result is what that window alone would give.

    Args:
        features: the encoded windows.
        contexts: what each window is decoded after.
        temperatures: the options at each, see ``DecodingTask``.
        thresholds: what makes a transcript fail.
        max_windows: most windows in the batch, the others wait for a slot; None sets no limit.

    Returns:
        the transcript of each window, in their order.
    """
    task = DecodingTask(inference.dims, tokenizer, temperatures, thresholds)
    attempts = [Attempt(task, context) for context in contexts]
    pool = DecodingPool(inference, max_windows or len(attempts))
    n_added = n_finished = 0
    while n_finished < len(attempts):
        joining = range(n_added, min(n_added + pool.room, len(attempts)))
        if joining:
            pool.add([attempts[index] for index in joining], features.select(joining))
            n_added = joining.stop
        n_finished += len(pool.advance())
    return [attempt.result for attempt in attempts]
