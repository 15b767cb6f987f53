"""faster-whisper's ``faster_whisper.tokenizer``: a model's vocabulary, put to a task in a language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from whisper_max.errors import OptionError
from whisper_max.text.languages import LANGUAGES
from whisper_max.text.tokenizer import Tokenizer as NativeTokenizer
from whisper_max.text.tokenizer import Vocabulary

__all__ = ["Tokenizer"]

_Words = tuple[list[str], list[list[int]]]
_TASKS = ("transcribe", "translate")
_LANGUAGE_CODES = (*sorted(set(LANGUAGES) - {"yue"}), "yue")


@dataclass(frozen=True)
class Encoding:
    """What encoding a text gives. ids: its tokens."""

    ids: list[int]


class HubTokenizer:
    """What programs ask of ``WhisperModel.hf_tokenizer``, a ``tokenizers.Tokenizer`` there."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._native = NativeTokenizer(vocabulary)

    def token_to_id(self, token: str) -> int | None:
        """The id of a special token, or of a text that is a single token; None where there is none."""
        special = self.vocabulary.special_tokens.get(token)
        if special is not None:
            return special
        tokens = self._native.encode(token)
        return tokens[0] if len(tokens) == 1 else None

    def encode(self, text: str, add_special_tokens: bool = True) -> Encoding:
        """The tokens of a text, by default between those that begin and end a transcript without times."""
        tokens = self._native.encode(text)
        if add_special_tokens:
            tokens = [*self._native.sot_sequence_including_notimestamps, *tokens, self._native.eot]
        return Encoding(tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of tokens."""
        kept = [each for each in ids if not skip_special_tokens or self._native.is_text(each)]
        return self._native.decode_with_timestamps(kept)


class Tokenizer:
    """A tokenizer with the special tokens of a task in a language.

    Args:
        tokenizer: a model's ``hf_tokenizer``.
        multilingual: whether transcripts begin with a language and a task.
        task: "transcribe" or "translate"; of a multilingual model.
        language: a code, likewise.

    Raises:
        OptionError: another tokenizer; a task or a language that there is not.
    """

    def __init__(
        self, tokenizer: HubTokenizer, multilingual: bool, task: str | None = None, language: str | None = None
    ) -> None:
        if not isinstance(tokenizer, HubTokenizer):
            expected, found = "a model's hf_tokenizer", type(tokenizer).__name__
            raise OptionError("not one of ours", where="tokenizer", expected=expected, found=found)
        self.tokenizer = tokenizer
        if multilingual:
            _check("task", task, _TASKS)
            _check("language", language, _LANGUAGE_CODES)
        else:
            task = language = None
        self._native = NativeTokenizer(tokenizer.vocabulary, language, task)
        self.task = None if task is None else tokenizer.token_to_id(f"<|{task}|>")
        self.language = None if language is None else self._native.language_token
        self.language_code = language or "en"

    @property
    def transcribe(self) -> int:
        """The task of writing down what is said."""
        return self._native.transcribe

    @property
    def translate(self) -> int:
        """The task of translating into English."""
        return self._native.translate

    @property
    def sot(self) -> int:
        """Start of transcript."""
        return self._native.sot

    @property
    def sot_lm(self) -> int:
        """Start of plain language modelling."""
        return self._native.sot_lm

    @property
    def sot_prev(self) -> int:
        """Start of the text before a window."""
        return self._native.sot_prev

    @property
    def eot(self) -> int:
        """End of text."""
        return self._native.eot

    @property
    def no_timestamps(self) -> int:
        """No timestamps are to follow."""
        return self._native.no_timestamps

    @property
    def no_speech(self) -> int:
        """Nobody speaks in a window."""
        return self._native.no_speech

    @property
    def timestamp_begin(self) -> int:
        """The timestamp 0.00 s."""
        return self._native.timestamp_begin

    @property
    def sot_sequence(self) -> list[int]:
        """How a transcript begins."""
        return list(self._native.sot_sequence)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Text tokens of anything that is not spoken, sorted."""
        return self._native.non_speech_tokens

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self._native.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return self.tokenizer.decode(tokens)

    def decode_with_timestamps(self, tokens: Sequence[int]) -> str:
        """The text of tokens with timestamps by name, such as ``<|1.08|>``, and without other special ones."""
        kept = [each for each in tokens if self._native.is_text(each) or self._native.is_timestamp(each)]
        return self._native.decode_with_timestamps(kept)

    def split_to_word_tokens(self, tokens: Sequence[int]) -> _Words:
        """Words, or characters in languages without spaces, and the tokens of each."""
        return self._nameless(self._native.split_to_word_tokens(tokens))

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> _Words:
        """Pieces of whole characters, and the tokens of each."""
        return self._nameless(self._native.split_tokens_on_unicode(tokens))

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> _Words:
        """Words that begin with a space, and the tokens of each."""
        return self._nameless(self._native.split_tokens_on_spaces(tokens))

    def _nameless(self, words: _Words) -> _Words:
        """The same with nothing for the words of special tokens, whose names are no text here."""
        return [self.decode_with_timestamps(tokens) for tokens in words[1]], words[1]


def _check(name: str, given: str | None, known: Sequence[str]) -> None:
    if given not in known:
        raise OptionError(f"not a valid {name}", where=name, expected=f"one of {', '.join(known)}", found=repr(given))
