"""The fields of the form, as a table: OpenAI's and our own, each with its kind, its limits and what it is for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_max.audio.vad_options import VadOptions
from whisper_max.options import OptionField, options_of
from whisper_max.output import WriterOptions
from whisper_max.server.errors import APIError
from whisper_max.server.http.synonyms import SHOWN, truth
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.speakers import LONGEST_NAME

DIARIZED = "diarized_json"
FORMATS = ("json", "text", "srt", "verbose_json", DIARIZED, "vtt", "tsv", "lrc", "csv", "ass")
INCLUDES = ("logprobs",)
GRANULARITIES = ("word", "segment")
LONGEST_REFERENCE = 10 << 20  # characters of a data URL; what a form may have in all of them
_LONGEST = 4096  # characters of a text, where a field says nothing else
_ANY_LENGTH = 1 << 20  # more than a form may have; of what the model takes the last tokens of


@dataclass(frozen=True)
class Field:
    """One field of the form.

    name: as it is sent. kind: ``string``, ``boolean``, ``integer`` or ``number``. help: what it is for.
    lowest, highest: of a number, where it has limits; highest: of the length of a text. above: what a number is above.
    choices: the only values of a text. many: may be sent more than once, its name with or without ``[]``. optional:
    ``null`` is a value. listed: a text of several values with commas between, which may stand in brackets.
    """

    name: str
    kind: str
    help: str
    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    choices: Sequence[str] | None = None
    many: bool = False
    optional: bool = False
    listed: bool = False

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
            if (value := truth(text)) is None:
                raise self._wrong("true or false", text)
            return value
        try:
            number = _whole(text) if self.kind == "integer" else float(text)
        except ValueError as error:
            raise self._wrong("a whole number" if self.kind == "integer" else "a number", text) from error
        if self._is_out_of_range(number):
            raise self._wrong(self._range, text)
        return number

    def _is_out_of_range(self, number: float) -> bool:
        """Whole numbers may be too large for a float, and are compared as they are."""
        if isinstance(number, float) and not math.isfinite(number):
            return True
        low = self.lowest is not None and number < self.lowest
        low = low or (self.above is not None and number <= self.above)
        return low or (self.highest is not None and number > self.highest)

    @property
    def _range(self) -> str:
        if self.lowest is not None and self.highest is not None:
            return f"{self.lowest:g} to {self.highest:g}"
        if self.above is not None:
            return f"above {self.above:g}"
        return "a finite number" if self.lowest is None else f"{self.lowest:g} or more"

    def _string(self, text: str) -> str:
        if self.listed and text[:1] == "[" and text[-1:] == "]":
            text = text[1:-1]
        if self.choices is not None and text not in self.choices:
            raise self._wrong(f"one of {', '.join(self.choices)}", text)
        if len(text) > self.longest:
            raise self._wrong(f"at most {self.longest} characters", f"{len(text)} characters")
        return text

    @property
    def longest(self) -> int:
        """Characters of a text."""
        return _LONGEST if self.highest is None else int(self.highest)

    def _wrong(self, expected: str, found: str) -> APIError:
        shown = found if len(found) <= SHOWN else found[:SHOWN] + "..."
        return APIError(
            400, f"{self.name}: expected {expected}, found {shown!r}", code="invalid_value", param=self.name
        )

    def schema(self) -> dict[str, Any]:
        """The field in the OpenAPI description."""
        schema: dict[str, Any] = {"type": self.kind, "description": self.help}
        if self.choices is not None:
            schema["enum"] = list(self.choices)
        elif self.kind == "string":
            schema["maxLength"] = self.longest
        limits = {"minimum": self.lowest, "exclusiveMinimum": self.above, "maximum": self.highest}
        if self.kind in ("integer", "number"):
            schema |= {name: limit for name, limit in limits.items() if limit is not None}
        return {"type": "array", "items": schema} if self.many else schema


def _whole(text: str) -> int:
    """A whole number, be it written as ``30.0``; raises ValueError for anything else."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


OPENAI_FIELDS = (
    Field("model", "string", "the model's id, or whisper-1 for the default one", highest=200),
    Field(
        "language",
        "string",
        "language spoken, by code or English name; detected where it is not given",
        highest=40,
        optional=True,
    ),
    Field("prompt", "string", "text that precedes the first window, for names and spelling", highest=_ANY_LENGTH),
    Field("response_format", "string", "what the answer looks like; tsv, lrc, csv and ass are ours", choices=FORMATS),
    Field("temperature", "number", "0: most likely token, rising where that fails; above 0: samples", 0, 1),
    Field(
        "timestamp_granularities",
        "string",
        "times in verbose_json: of segments, words or both",
        choices=GRANULARITIES,
        many=True,
    ),
    Field("stream", "boolean", "server-sent events, transcript.text.delta and transcript.text.done"),
    Field("include", "string", "logprobs: the log-probability of each token, in json", choices=INCLUDES, many=True),
    Field("chunking_strategy", "string", "auto, or JSON of type server_vad: transcribe speech only"),
    Field("keywords", "string", "words to expect", many=True),
    Field(
        "known_speaker_names",
        "string",
        "up to 4 people who may speak, where speakers are told apart",
        highest=LONGEST_NAME,
        many=True,
    ),
    Field(
        "known_speaker_references",
        "string",
        "of each of them, 2 to 10 s of nobody else: audio as a data URL",
        highest=LONGEST_REFERENCE,
        many=True,
    ),
)


def _of_option(about: OptionField, prefix: str = "") -> Field:
    """The field of an option, with its range."""
    kind = next((_KINDS[each] for each in about.kinds if each in _KINDS), "string")
    if "str" in about.kinds:  # a number is a text too
        kind = "string"
    return Field(
        prefix + about.name,
        kind,
        about.help,
        lowest=about.least,
        highest=_ANY_LENGTH if about.name in _LAST_TOKENS else about.most,
        above=about.above,
        choices=about.choices,
        optional=about.is_optional,
        listed=any(kind.startswith("Sequence[") for kind in about.kinds) and about.name not in _TEXTS,
    )


_TEXTS = {"prefix"}  # which may be tokens elsewhere; brackets are part of a text
_LAST_TOKENS = {"hotwords"}  # of which the model takes the last tokens, however many there are
_KINDS = {"bool": "boolean", "int": "integer", "float": "number"}
_AS_OPENAI = {"language", "temperature", "initial_prompt"}  # these have fields of OpenAI's

OWN_FIELDS = (
    Field("temperature_inc", "number", "what is added to the temperature where it fails, up to 1; 0: nothing", 0, 1),
    Field("progress", "boolean", "with stream: transcript.progress events, seconds done and in all"),
    *(
        _of_option(each)
        for each in options_of(TranscribeOptions)
        if "form" in each.doors and each.name not in _AS_OPENAI
    ),
    *(_of_option(each, "vad_") for each in options_of(VadOptions)),
    *(_of_option(each) for each in options_of(WriterOptions) if "form" in each.doors),
)

FIELDS = {field.name: field for field in OPENAI_FIELDS + OWN_FIELDS}


def read_fields(sent: dict[str, list[str]]) -> dict[str, Any]:
    """The values of a form by name: a list for those that may be sent more than once; an empty text counts as not sent.

    Raises:
        APIError: 400 for a field that is sent twice or has an impossible value.
    """
    values: dict[str, Any] = {}
    for name, texts in sent.items():
        field = FIELDS[name]
        given = [field.parse(text) for text in texts if text != ""]
        if not field.many and len(texts) > 1:
            raise APIError(400, f"{name}: sent more than once", code="duplicate_field", param=name)
        if given:
            values[name] = given if field.many else given[0]
    return values


def form_schema() -> dict[str, Any]:
    """The form in the OpenAPI description."""
    file = {"type": "string", "format": "binary", "description": "the recording"}
    url = {"type": "string", "description": "in the place of file, the recording's address, where the server takes any"}
    names = {field.name + ("[]" if field.many else ""): field.schema() for field in FIELDS.values()}
    schema = {
        "type": "object",
        "properties": {"file": file, "url": url, **names},
        "required": ["model"],
        "additionalProperties": True,
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
