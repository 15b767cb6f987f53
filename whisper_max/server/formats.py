"""A transcript as the body of an answer, in OpenAI's shapes."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.responses import Response

from whisper_max.output import render
from whisper_max.server.asked import Asked
from whisper_max.text.languages import LANGUAGES
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word


def answer(asked: Asked, result: TranscriptionResult) -> Response:
    """The whole answer."""
    if asked.format == "json":
        return JSONResponse({"text": text_of(result), "usage": usage_of(result)})
    if asked.format == "verbose_json":
        return JSONResponse(verbose(asked, result))
    if asked.format == "text":
        return PlainTextResponse(text_of(result) + "\n")
    return PlainTextResponse(render(result, asked.format, asked.layout))


def text_of(result: TranscriptionResult) -> str:
    """The text without the space that it begins with."""
    return result.text.strip()


def usage_of(result: TranscriptionResult) -> dict[str, Any]:
    """What was used, as OpenAI counts it for Whisper."""
    return {"type": "duration", "seconds": result.duration}


def verbose(asked: Asked, result: TranscriptionResult) -> dict[str, Any]:
    """``verbose_json``; a translation's language is English, and ``source_language`` what was spoken."""
    translated = asked.options.task == "translate"
    spoken = LANGUAGES.get(result.language, "")
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
    if "word" in asked.granularities:
        answer["words"] = [word_of(word) for segment in result.segments for word in segment.words or ()]
    return {**answer, "usage": usage_of(result)}


def segment_of(segment: Segment) -> dict[str, Any]:
    """A segment with OpenAI's keys; its words are given apart."""
    return {name: value for name, value in segment.to_dict().items() if name != "words"}


def word_of(word: Word) -> dict[str, Any]:
    """A word without the space before it; ``probability`` is ours."""
    return {**word.to_dict(), "word": word.word.strip()}
