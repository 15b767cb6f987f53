"""Decoding windows of 30 s as such: openai-whisper's ``decode``."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.decode.fallback import NO_THRESHOLDS, Thresholds
from whisper_max.decode.inference import AudioFeatures, Float32, Inference
from whisper_max.decode.job import Job
from whisper_max.decode.language import check_translation
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import DecodingPool
from whisper_max.decode.result import DecodingResult
from whisper_max.decode.task import DecodeRequest, DecodingTask, text_tokens
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer


def decode(
    inference: Inference, vocabulary: Vocabulary, mel: Float32, options: DecodingOptions | None = None
) -> list[DecodingResult]:
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
) -> list[DecodingResult]:
    """``decode`` of windows that are encoded already.

    Raises:
        OptionError: an option that is impossible for this model.
    """
    multilingual = inference.dims.is_multilingual
    check_translation(inference.dims, options.task)
    tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=options.task)
    prompt = text_tokens(tokenizer, "prompt", options.prompt)
    detects = options.language is None and multilingual
    requests = [DecodeRequest(prompt, (window,), None, detects) for window in range(features.n_windows)]
    return decode_windows(inference, tokenizer, features, requests, [options])


def decode_windows(
    inference: Inference,
    tokenizer: Tokenizer,
    features: AudioFeatures,
    requests: Sequence[DecodeRequest],
    ladder: Sequence[DecodingOptions],
    thresholds: Thresholds = NO_THRESHOLDS,
    *,
    max_windows: int | None = None,
) -> list[DecodingResult]:
    """Decode windows side by side; each result is what that window alone would give.

    Args:
        features: the encoded windows.
        requests: what to decode, one for each window.
        ladder: the options of each attempt, see ``DecodingTask``.
        thresholds: what makes a transcript fail.
        max_windows: most windows in the batch, the others wait for a place; None sets no limit.

    Returns:
        a result for each request, in their order.
    """
    task = DecodingTask(inference.dims, tokenizer, ladder, thresholds)
    jobs = [Job(task, request) for request in requests]
    pool = DecodingPool(inference, max_windows or len(jobs))
    results: dict[Job, DecodingResult] = {}
    n_added = 0
    while len(results) < len(jobs):
        joining = range(n_added, min(n_added + pool.room, len(jobs)))
        if joining:
            pool.add([jobs[index] for index in joining], features.select(joining))
            n_added = joining.stop
        for finished in pool.advance():
            results[finished.job] = finished.result
    return [results[job] for job in jobs]
