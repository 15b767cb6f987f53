"""The fields of the form, as a table: OpenAI's and our own, each with its kind, its limits and what it is for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_max.server.errors import APIError

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "tsv", "lrc", "csv")
GRANULARITIES = ("word", "segment")
_SHOWN = 60  # characters of a wrong value that are shown


@dataclass(frozen=True)
class Field:
    """One field of the form.

    name: as it is sent. kind: ``string``, ``boolean``, ``integer`` or ``number``. help: what it is for.
    lowest, highest: of a number, or of the length of a text. choices: the only values of a text. many: may be sent
    more than once, its name with or without ``[]``. optional: ``null`` is a value.
    """

    name: str
    kind: str
    help: str
    lowest: float = 0
    highest: float = 4096
    choices: Sequence[str] | None = None
    many: bool = False
    optional: bool = False

    def parse(self, text: str) -> str | bool | int | float | None:
        """The value of a text.

        Raises:
            APIError: 400, it is none of this field's.
        """
        if self.optional and text.lower() in ("null", "none"):
            return None
        if self.kind == "string":
            return self._string(text)
        if self.kind == "boolean":
            if text.lower() not in ("true", "false"):
                raise self._wrong("true or false", text)
            return text.lower() == "true"
        try:
            number = int(text) if self.kind == "integer" else float(text)
        except ValueError as error:
            raise self._wrong("a whole number" if self.kind == "integer" else "a number", text) from error
        if not (math.isfinite(number) and self.lowest <= number <= self.highest):
            raise self._wrong(f"{self.lowest:g} to {self.highest:g}", text)
        return number

    def _string(self, text: str) -> str:
        if self.choices is not None and text not in self.choices:
            raise self._wrong(f"one of {', '.join(self.choices)}", text)
        if len(text) > self.highest:
            raise self._wrong(f"at most {self.highest:g} characters", f"{len(text)} characters")
        return text

    def _wrong(self, expected: str, found: str) -> APIError:
        shown = found if len(found) <= _SHOWN else found[:_SHOWN] + "..."
        return APIError(
            400, f"{self.name}: expected {expected}, found {shown!r}", code="invalid_value", param=self.name
        )

    def schema(self) -> dict[str, Any]:
        """The field in the OpenAPI description."""
        schema: dict[str, Any] = {"type": self.kind, "description": self.help}
        if self.choices is not None:
            schema["enum"] = list(self.choices)
        elif self.kind == "string":
            schema["maxLength"] = int(self.highest)
        elif self.kind != "boolean":
            schema |= {"minimum": self.lowest, "maximum": self.highest}
        return {"type": "array", "items": schema} if self.many else schema


OPENAI_FIELDS = (
    Field("model", "string", "the model's id, or whisper-1 for the default one", highest=200),
    Field("language", "string", "language spoken, by code or English name; detected where it is not given", highest=40),
    Field("prompt", "string", "text that precedes the first window, for names and spelling"),
    Field("response_format", "string", "what the answer looks like; tsv, lrc and csv are ours", choices=FORMATS),
    Field("temperature", "number", "0: most likely token, rising where that fails; above 0: samples", highest=1),
    Field(
        "timestamp_granularities",
        "string",
        "times in verbose_json: of segments, words or both",
        choices=GRANULARITIES,
        many=True,
    ),
    Field("stream", "boolean", "server-sent events, transcript.text.delta and transcript.text.done"),
    Field("include", "string", "logprobs are not available", highest=40, many=True),
    Field("chunking_strategy", "string", "auto, or JSON of type server_vad: transcribe speech only"),
    Field("keywords", "string", "words to expect", highest=200, many=True),
)

OWN_FIELDS = (
    Field("progress", "boolean", "with stream: transcript.progress events, seconds done and in all"),
    Field("language_detection_segments", "integer", "windows of 30 s to detect the language in", 1, 100),
    Field("language_detection_threshold", "number", "a window surer of its language than this decides alone", 0, 1),
    Field("multilingual", "boolean", "detect the language of every window"),
    Field("compression_ratio_threshold", "number", "a text that compresses better has failed", 0, 100, optional=True),
    Field("logprob_threshold", "number", "an average log probability below this has failed", -100, 0, optional=True),
    Field("no_speech_threshold", "number", "a failed window with more no-speech is silence", 0, 1, optional=True),
    Field("condition_on_previous_text", "boolean", "prompt windows with the text before", optional=True),
    Field("carry_initial_prompt", "boolean", "put the prompt before every window"),
    Field("clip_timestamps", "string", "start,end,... in seconds: the parts to transcribe"),
    Field("word_timestamps", "boolean", "times for every word, for srt and vtt laid out by words"),
    Field("prepend_punctuations", "string", "punctuation that joins the next word", highest=100),
    Field("append_punctuations", "string", "punctuation that joins the word before", highest=100),
    Field("hallucination_silence_threshold", "number", "seconds of silence to skip", 0, 1e6, optional=True),
    Field("vad", "boolean", "transcribe speech only, by voice activity detection"),
    Field("vad_threshold", "number", "probability at which speech begins", 0, 1),
    Field("vad_neg_threshold", "number", "probability below which it ends", 0, 1),
    Field("vad_min_speech_duration_ms", "number", "shorter speech is dropped", 0, 1e9),
    Field("vad_max_speech_duration_s", "number", "longer speech is cut", 0, 1e9),
    Field("vad_min_silence_duration_ms", "number", "shorter silence does not part speech", 0, 1e9),
    Field("vad_speech_pad_ms", "number", "kept on both sides of speech", 0, 1e9),
    Field("batch_size", "integer", "pieces of the recording to decode side by side", 1, 64),
    Field("sample_len", "integer", "most tokens in a window", 1, 448),
    Field("best_of", "integer", "samples to choose from at temperatures above 0", 1, 10),
    Field("beam_size", "integer", "hypotheses of the beam search at temperature 0", 1, 10),
    Field("patience", "number", "of the beam search", 0, 10),
    Field("length_penalty", "number", "exponent of the length penalty", 0, 1),
    Field("prefix", "string", "text that every window's transcript begins with"),
    Field("hotwords", "string", "words to expect, put before every window"),
    Field("suppress_tokens", "string", "token ids never to be sampled, with commas; -1: non-speech symbols"),
    Field("suppress_blank", "boolean", "no blank at the start of a window"),
    Field("suppress_numerals", "boolean", "never sample digits and currency signs"),
    Field("without_timestamps", "boolean", "decode without timestamp tokens"),
    Field("max_initial_timestamp", "number", "seconds within which the first timestamp lies", 0, 30, optional=True),
    Field("repetition_penalty", "number", "above 1: makes tokens that were said less likely", 0.01, 100),
    Field("no_repeat_ngram_size", "integer", "sequences of so many tokens are never said twice", 0, 448),
    Field("seed", "integer", "of the samples drawn at temperatures above 0", 0, 2**63 - 1),
    Field("max_line_width", "integer", "characters in a line of srt and vtt", 1, 1000),
    Field("max_line_count", "integer", "lines in a cue of srt and vtt", 1, 1000),
    Field("max_words_per_line", "integer", "words in a cue of srt and vtt", 1, 1000),
    Field("highlight_words", "boolean", "underline each word in srt and vtt as it is spoken"),
)

FIELDS = {field.name: field for field in OPENAI_FIELDS + OWN_FIELDS}

REFUSED = {
    "known_speaker_names": "speakers are not told apart",
    "known_speaker_references": "speakers are not told apart",
    "languages": "give one language, or none to detect it",
    "task": "the address says it: /v1/audio/transcriptions or /v1/audio/translations",
    "initial_prompt": "its name is prompt",
    "suppress_regex": "patterns of others are not run on a server",
}
"""Fields that are known and not taken, and why."""


def read_fields(sent: dict[str, list[str]]) -> dict[str, Any]:
    """The values of a form by name: a list for those that may be sent more than once; an empty text counts as not sent.

    Raises:
        APIError: 400 for a field that is unknown, refused, sent twice or has an impossible value.
    """
    values: dict[str, Any] = {}
    for sent_name, texts in sent.items():
        name = sent_name.removesuffix("[]")
        if name in REFUSED:
            raise APIError(400, f"{name}: {REFUSED[name]}", code="unsupported_field", param=name)
        field = FIELDS.get(name)
        if field is None or (sent_name != name and not field.many):
            raise APIError(400, f"unknown field {sent_name[:_SHOWN]!r}", code="unknown_field", param=sent_name[:_SHOWN])
        given = [field.parse(text) for text in texts if text != ""]
        if not field.many and len(texts) > 1:
            raise APIError(400, f"{name}: sent more than once", code="duplicate_field", param=name)
        if given and field.many:
            values.setdefault(name, []).extend(given)
        elif given:
            values[name] = given[0]
    return values


def form_schema() -> dict[str, Any]:
    """The form in the OpenAPI description."""
    file = {"type": "string", "format": "binary", "description": "the recording"}
    names = {field.name + ("[]" if field.many else ""): field.schema() for field in FIELDS.values()}
    schema = {
        "type": "object",
        "properties": {"file": file, **names},
        "required": ["file", "model"],
        "additionalProperties": False,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
