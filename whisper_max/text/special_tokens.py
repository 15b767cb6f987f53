"""Where a vocabulary's special tokens are: by the checkpoint's own statement, or by the published order.

The published order is openai-whisper's: the tokens of text, then end, start, languages, tasks and the rest, then 1501
timestamps. Fine-tuned models keep these ids and add tokens of their own behind them, so the number of embeddings tells
nothing; a statement is believed only where it is whole and consistent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from whisper_max.errors import CheckpointError
from whisper_max.text.languages import LANGUAGES

SECONDS_PER_TIMESTAMP = 0.02
N_TIMESTAMPS = 1501  # 0.00 s to 30.00 s in steps of 0.02 s

NAMES = {
    "eot": ("<|endoftext|>",),
    "sot": ("<|startoftranscript|>",),
    "translate": ("<|translate|>",),
    "transcribe": ("<|transcribe|>",),
    "sot_lm": ("<|startoflm|>",),
    "sot_prev": ("<|startofprev|>",),
    "no_speech": ("<|nospeech|>", "<|nocaptions|>"),
    "no_timestamps": ("<|notimestamps|>",),
}
"""What openai-whisper's names of special tokens are spelled like, the newest spelling first."""

_OLD_CODES = {"iw": "he"}
"""Withdrawn codes that tokens of languages still have, as in OpenAI's English-only vocabularies on the hub."""

_N_OTHERS = len(NAMES) + N_TIMESTAMPS


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the special tokens, in openai-whisper's names.

    languages: code to id, by ascending id. others: names that mean nothing to Whisper, to their ids.
    """

    eot: int
    sot: int
    translate: int
    transcribe: int
    sot_lm: int
    sot_prev: int
    no_speech: int
    no_timestamps: int
    timestamp_begin: int
    languages: dict[str, int]
    others: dict[str, int]

    @property
    def timestamp_end(self) -> int:
        """The id after the last timestamp."""
        return self.timestamp_begin + N_TIMESTAMPS

    def by_name(self) -> dict[str, int]:
        """Every special token by its first spelling, ascending by id."""
        names = {spellings[0]: getattr(self, name) for name, spellings in NAMES.items()}
        names |= {f"<|{code}|>": token for code, token in self.languages.items()}
        names |= {timestamp_name(i): self.timestamp_begin + i for i in range(N_TIMESTAMPS)}
        return dict(sorted((names | self.others).items(), key=lambda item: item[1]))


def timestamp_name(steps: int) -> str:
    """The token of a time in steps of 0.02 s."""
    return f"<|{steps * SECONDS_PER_TIMESTAMP:.2f}|>"


def published_special_tokens(n_text: int, n_vocab: int) -> SpecialTokens:
    """The special tokens after ``n_text`` tokens of text in the published order, which fill ``n_vocab`` embeddings.

    Raises:
        CheckpointError: what is left for languages is no number of languages.
    """
    n_languages = n_vocab - n_text - _N_OTHERS
    if not 1 <= n_languages <= len(LANGUAGES):
        raise CheckpointError(
            "the vocabulary does not fit the token embedding",
            expected=f"{n_vocab} tokens, of which 1 to {len(LANGUAGES)} languages",
            found=f"{n_text} text tokens, {_N_OTHERS} fixed special ones and {n_languages} left for languages",
        )
    sot = n_text + 1
    tail = sot + 1 + n_languages
    languages = {code: sot + 1 + i for i, code in enumerate(list(LANGUAGES)[:n_languages])}
    return SpecialTokens(n_text, sot, tail, tail + 1, tail + 2, tail + 3, tail + 4, tail + 5, tail + 6, languages, {})


def stated_special_tokens(
    stated: Mapping[str, int], n_vocab: int, added_languages: Collection[str] = ()
) -> SpecialTokens:
    """The special tokens that a checkpoint states by name.

    Timestamps that are not stated follow ``<|notimestamps|>``, as in every tokenizer of Whisper. What Whisper does not
    know as a language is one if its token's name is among ``added_languages``.

    Raises:
        CheckpointError: one is missing, stated in two ways, or has another's id; no room for the timestamps.
    """
    core = {name: _one_of(stated, spellings) for name, spellings in NAMES.items()}
    begin = stated.get(timestamp_name(0), core["no_timestamps"] + 1)
    times = {timestamp_name(i): begin + i for i in range(N_TIMESTAMPS)}
    known = {spelling for spellings in NAMES.values() for spelling in spellings} | set(times)
    codes = {name: _code_of(name, stated) for name in stated if name[:2] == "<|"}
    added = set(added_languages) - known
    of_languages = {name: code for name, code in codes.items() if code in LANGUAGES or name in added}
    languages = {code: stated[name] for name, code in of_languages.items()}
    known |= set(of_languages)
    for name, token in times.items():
        if stated.get(name, token) != token:
            raise CheckpointError(f"{name} has an unusual id", expected=token, found=stated[name])
    taken = {token: name for name, token in stated.items() if begin <= token < begin + N_TIMESTAMPS}
    for token, name in taken.items():
        if name not in times:
            taken_by = f"{name[:80]} has the id of the timestamp {timestamp_name(token - begin)}"
            raise CheckpointError(taken_by, found=token)
    if begin + N_TIMESTAMPS > n_vocab:
        raise CheckpointError(
            "the token embedding ends before the last timestamp",
            expected=f"at least {begin + N_TIMESTAMPS} rows",
            found=n_vocab,
            hint="a model without timestamps can't be transcribed in windows",
        )
    others = {name: token for name, token in stated.items() if name not in known}
    by_id = dict(sorted(languages.items(), key=lambda item: item[1]))
    return SpecialTokens(**core, timestamp_begin=begin, languages=by_id, others=others)


def _code_of(name: str, stated: Mapping[str, int]) -> str:
    """The code that a token would be the language of; a withdrawn one stands for today's where that has no token."""
    code = name[2:-2]
    today = _OLD_CODES.get(code, code)
    return code if f"<|{today}|>" in stated else today


def _one_of(stated: Mapping[str, int], spellings: tuple[str, ...]) -> int:
    found = {stated[spelling] for spelling in spellings if spelling in stated}
    if len(found) != 1:
        what = "is not in the vocabulary" if not found else "has two ids"
        hint = None if found else "put the model's complete tokenizer.json beside it"
        raise CheckpointError(f"{' or '.join(spellings)} {what}", hint=hint)
    return found.pop()
