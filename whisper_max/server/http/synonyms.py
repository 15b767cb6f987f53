"""What programs written for other servers send: other names of our fields, and fields that are not ours.

A field that is not known is ignored, and the answer says so. One that would change the text is refused by its name,
unless its value is the one that changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from whisper_max.server.errors import APIError
from whisper_max.text.languages import TASKS

log = logging.getLogger(__name__)

SHOWN = 60  # characters of what was sent that are shown
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

SYNONYMS = {
    "vad_filter": "vad",
    "initial_prompt": "prompt",
    "log_prob_threshold": "logprob_threshold",
    "logprob_thold": "logprob_threshold",
    "no_speech_thold": "no_speech_threshold",
    "max_new_tokens": "sample_len",
    "no_timestamps": "without_timestamps",
}
"""Names of faster-whisper, its servers and whisper.cpp, and ours."""

REFUSED = {
    "languages": "give one language, or none to detect it",
    "suppress_regex": "patterns of others are not run on a server",
    "vad_parameters": "give the fields vad_threshold, vad_min_silence_duration_ms and so on",
    "grammar": "grammars are not followed",
    "logit_bias": "tokens can't be made likelier; suppress_tokens forbids them",
}
"""Fields that would change the answer and are not taken, and why."""

NEUTRAL = {
    "top_p": ("1",),
    "top_k": ("0", "-1"),
    "n": ("1",),
    "frequency_penalty": ("0",),
    "presence_penalty": ("0",),
    "diarize": _FALSE,
    "tinydiarize": _FALSE,
    "offset_t": ("0",),
    "offset_n": ("0",),
    "duration": ("0",),
    "audio_ctx": ("0",),
    "max_context": ("-1",),
    "max_len": ("0",),
    "no_context": _FALSE,
    "detect_language": _FALSE,
    "entropy_thold": ("2.4",),
}
"""Fields of other servers that would change the text, and the values with which they don't."""


@dataclass
class Sent:
    """The fields of a form under our names. task: where a field says it. ignored: names of those that are not ours."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    task: str | None = None
    ignored: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[dict[str, str]]:
        """What the answer says of them."""
        return [
            {"kind": "ignored_field", "message": f"the field {name[:SHOWN]!r} is not known, and was ignored"}
            for name in self.ignored
        ]


def translate(sent: Mapping[str, list[str]], known: Mapping[str, bool], *, strict: bool) -> Sent:
    """The fields of a form under our names.

    Args:
        sent: the fields.
        known: ours, and whether each may be sent more than once, as ``name[]``.
        strict: refuse what is not known.

    Raises:
        APIError: 400 for a field that is refused, or sent under two names.
    """
    found = Sent()
    for sent_name, texts in sent.items():
        name = sent_name.removesuffix("[]")
        name = SYNONYMS.get(name, name)
        if name == "languages" and len(texts) == 1:
            name = "language"
        if name in REFUSED:
            raise _refused(name, REFUSED[name])
        if name in ("task", "translate"):
            _set_task(found, name, texts)
        elif name in NEUTRAL:
            _check_neutral(name, texts)
        elif name in known:
            if name in found.fields and not known[name]:
                raise APIError(400, f"{name}: sent more than once", code="duplicate_field", param=name)
            found.fields.setdefault(name, []).extend(texts)
        elif strict:
            shown = sent_name[:SHOWN]
            raise APIError(400, f"unknown field {shown!r}", code="unknown_field", param=shown)
        else:
            found.ignored.append(sent_name)
    if found.ignored:
        log.warning("fields that are not known were ignored: %a", ", ".join(name[:SHOWN] for name in found.ignored))
    return found


def truth(text: str) -> bool | None:
    """What a text means where yes or no is asked; None where it is neither."""
    text = text.lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _set_task(found: Sent, name: str, texts: list[str]) -> None:
    for text in filter(None, texts):
        task: str | None = text
        if name == "translate":
            task = None if truth(text) is None else TASKS[truth(text) is True]
        if task not in TASKS or found.task not in (None, task):
            expected = " or ".join(TASKS if name == "task" else ("true", "false"))
            message = f"{name}: expected {expected}, once, found {text[:SHOWN]!r}"
            raise APIError(400, message, code="invalid_value", param=name)
        found.task = task


def _check_neutral(name: str, texts: list[str]) -> None:
    if any(text and _plain(text) not in NEUTRAL[name] for text in texts):
        raise _refused(name, f"only {NEUTRAL[name][0]} can be had")


def _plain(text: str) -> str:
    """A number as it is shortest: 1.0 is 1."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.lower()


def _refused(name: str, why: str) -> APIError:
    return APIError(400, f"{name}: {why}", code="unsupported_field", param=name)
