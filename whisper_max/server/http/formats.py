"""A transcript as the body of an answer, in OpenAI's shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response

from whisper_max.output import finite, render
from whisper_max.server.http.asked import Asked
from whisper_max.server.http.fields import DIARIZED
from whisper_max.text.languages import language_name
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

_AUDIO_POSITIONS = 50  # a second
_WARNINGS = "x-whisper-max-warnings"
_NOBODY = "unknown"  # a speaker who is not told apart; the field is not optional
_LONGEST_HEADER = 4000  # bytes, which every proxy lets through


def answer(asked: Asked, result: TranscriptionResult) -> Response:
    """The whole answer; its warnings stand in a header too, whatever the format."""
    return with_warnings(_body(asked, result), asked, result)


def with_warnings(response: Response, asked: Asked, result: TranscriptionResult) -> Response:
    """An answer with its warnings in a header."""
    if warnings := warnings_of(asked, result):
        response.headers[_WARNINGS] = _header(warnings)
    return response


def warnings_of(asked: Asked, result: TranscriptionResult) -> list[dict[str, Any]]:
    """Kind and message of each: fields that were ignored, and with start and end what could not be heard."""
    return [*asked.warnings, *(asdict(warning) for warning in result.warnings)]


def _header(warnings: list[dict[str, Any]]) -> str:
    """A JSON array in ASCII; of many, as many as there is room for."""
    while len(text := json.dumps(warnings)) > _LONGEST_HEADER:
        warnings = warnings[: len(warnings) // 2]
    return text


def _body(asked: Asked, result: TranscriptionResult) -> Response:
    if asked.format == "json":
        warnings = warnings_of(asked, result)
        body: dict[str, Any] = {"text": text_of(result), **logprobs_of(asked, result.segments)}
        return JSONResponse({**body, **({"warnings": warnings} if warnings else {}), "usage": usage_of(result)})
    if asked.format == "verbose_json":
        return JSONResponse(verbose(asked, result))
    if asked.format == DIARIZED:
        return JSONResponse(diarized(asked, result))
    if asked.format == "text":
        return PlainTextResponse(said(result))
    return PlainTextResponse(render(result, asked.format, asked.layout))


def text_of(result: TranscriptionResult) -> str:
    """The text without the space that it begins with."""
    return result.text.strip()


def said(result: TranscriptionResult) -> str:
    """The text and a newline; where speakers are told apart, a line of each segment with who says it."""
    if any(segment.speaker is not None for segment in result.segments):
        return render(result, "txt")
    return text_of(result) + "\n"


def logprobs_of(asked: Asked, segments: Iterable[Segment]) -> dict[str, Any]:
    """The log-probability of each token of the text, as OpenAI has it, where it is asked for; timestamps have none.

    Returns:
        ``logprobs``, or nothing.
    """
    vocabulary = asked.vocabulary
    if vocabulary is None or not asked.options.token_logprobs:
        return {}
    said = (pair for segment in segments for pair in zip(segment.tokens, segment.token_logprobs or (), strict=False))
    spelled = ((vocabulary.token_bytes[token], logprob) for token, logprob in said if vocabulary.is_text(token))
    return {
        "logprobs": [
            {"token": text.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(text)}
            for text, logprob in spelled
        ]
    }


def usage_of(result: TranscriptionResult) -> dict[str, Any]:
    """What was used, as OpenAI counts it for Whisper."""
    return {"type": "duration", "seconds": result.duration}


def tokens_of(result: TranscriptionResult) -> dict[str, Any]:
    """What was used, as OpenAI counts it at the end of a stream; ``seconds`` is ours.

    The tokens of audio are the positions that the encoder gives for it, one for each 20 ms.
    """
    audio = math.ceil(result.duration * _AUDIO_POSITIONS)
    said = sum(len(segment.tokens) for segment in result.segments)
    details = {"audio_tokens": audio}
    counts = {"input_tokens": audio, "output_tokens": said, "total_tokens": audio + said}
    return {"type": "tokens", **counts, "input_token_details": details, "seconds": result.duration}


def verbose(asked: Asked, result: TranscriptionResult) -> dict[str, Any]:
    """``verbose_json``; a translation's language is English, and ``source_language`` what was spoken."""
    translated = asked.options.task == "translate"
    spoken = language_name(result.language)
    answer: dict[str, Any] = {
        "task": asked.options.task,
        "language": "english" if translated else spoken,
        "duration": result.duration,
        "text": text_of(result),
    }
    if translated:
        answer["source_language"] = spoken
    if "segment" in asked.granularities:
        answer["segments"] = [segment_of(segment) for segment in result.segments]
        if result.dropped:
            answer["dropped"] = [segment_of(segment) for segment in result.dropped]
    if "word" in asked.granularities:
        answer["words"] = [word_of(word) for segment in result.segments for word in segment.words or ()]
    if warnings := warnings_of(asked, result):
        answer["warnings"] = warnings
    return {**answer, "usage": usage_of(result)}


def diarized(asked: Asked, result: TranscriptionResult) -> dict[str, Any]:
    """``diarized_json``: segments that say something, each with its speaker."""
    answer: dict[str, Any] = {
        "task": asked.options.task,
        "duration": result.duration,
        "text": text_of(result),
        "segments": [diarized_segment(segment) for segment in result.segments if segment.text.strip()],
    }
    if warnings := warnings_of(asked, result):
        answer["warnings"] = warnings
    return {**answer, "usage": usage_of(result)}


def diarized_segment(segment: Segment) -> dict[str, Any]:
    """A segment of ``diarized_json``, in an answer as in a stream."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{segment.id}",
        "start": segment.start,
        "end": segment.end,
        "text": segment.text.strip(),
        "speaker": segment.speaker or _NOBODY,
    }


def segment_of(segment: Segment) -> dict[str, Any]:
    """A segment with OpenAI's keys, null for what was not measured; its words are given apart."""
    return {name: finite(value) for name, value in segment.to_dict().items() if name != "words"}


def word_of(word: Word) -> dict[str, Any]:
    """A word without the space before it; ``probability`` is ours."""
    return {**word.to_dict(), "word": word.word.strip()}
