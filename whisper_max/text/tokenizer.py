"""The tokenizer: text to token ids and back, the special tokens, and tokens grouped into words.

A vocabulary is the checkpoint's own table of byte strings and ranks; the special tokens follow it in one fixed order,
so their ids need no table of their own.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import tiktoken

from whisper_max.errors import CheckpointError, OptionError
from whisper_max.text.languages import LANGUAGES, UNSPACED, language_code

TASKS = ("transcribe", "translate")
SECONDS_PER_TIMESTAMP = 0.02

# How GPT-2 cuts text into pieces before merging bytes: contractions, words, numbers, the rest, and spaces.
_PIECES = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_N_TIMESTAMPS = 1501  # 0.00 s to 30.00 s in steps of 0.02 s
_N_OTHER_SPECIALS = 8 + _N_TIMESTAMPS  # eot, sot, translate, transcribe, sot_lm, sot_prev, no_speech, no_timestamps
_REPLACEMENT = "\ufffd"

# Symbols that stand for sounds, speakers and notation, not for speech (openai/whisper ``tokenizer.py``).
_CHARACTERS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_GROUPS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_MUSIC = "♩♪♫♬♭♮♯"  # each may take several tokens; the first one is enough to suppress them


class Vocabulary:
    """The tokens of one checkpoint: what its tokenizers share, whatever their language and task.

    Args:
        ranks: byte string of each text token -> its id, ids 0..len(ranks)-1.
        n_vocab: rows of the token embedding.

    Raises:
        CheckpointError: the two don't belong together.
    """

    def __init__(self, ranks: Mapping[bytes, int], n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.eot = len(ranks)
        self.num_languages = n_vocab - len(ranks) - _N_OTHER_SPECIALS
        if not 1 <= self.num_languages <= len(LANGUAGES):
            raise CheckpointError(
                "the vocabulary does not fit the token embedding",
                expected=f"{n_vocab} tokens, of which 1 to {len(LANGUAGES)} languages",
                found=f"{len(ranks)} text tokens, {_N_OTHER_SPECIALS} fixed special ones"
                f" and {self.num_languages} left for languages",
            )
        self._text_bytes = _bytes_by_rank(ranks)
        self.special_tokens = {name: self.eot + i for i, name in enumerate(_special_names(self.num_languages))}
        self._ranks = ranks

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """The byte-pair encoder, built when first needed."""
        return tiktoken.Encoding(
            name="whisper",
            explicit_n_vocab=self.n_vocab,
            pat_str=_PIECES,
            mergeable_ranks=dict(self._ranks),
            special_tokens=self.special_tokens,
        )

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """What each token stands for, by id; special tokens by their name."""
        return self._text_bytes + [name.encode() for name in self.special_tokens]

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Text tokens of speaker tags, music notes and brackets, plus a hyphen or quote that begins a word; sorted."""
        encode = self.encoding.encode_ordinary
        found = {encode(" -")[0], encode(" '")[0]}
        for symbol in (*_CHARACTERS, *_GROUPS.split(), *_MUSIC):
            for tokens in (encode(symbol), encode(" " + symbol)):
                if len(tokens) == 1 or symbol in _MUSIC:
                    found.add(tokens[0])
        return tuple(sorted(found))


def _bytes_by_rank(ranks: Mapping[bytes, int]) -> list[bytes]:
    """The text tokens in the order of their ids, which must be 0..len(ranks)-1."""
    ordered = sorted(ranks, key=ranks.__getitem__)
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise CheckpointError(
            "the vocabulary has gaps or repeats",
            expected=f"ids 0 to {len(ranks) - 1}, each once",
            found=f"{len(set(ranks.values()))} different ids up to {max(ranks.values())}",
        )
    return ordered


def _special_names(num_languages: int) -> list[str]:
    return [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in list(LANGUAGES)[:num_languages]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{i * SECONDS_PER_TIMESTAMP:.2f}|>" for i in range(_N_TIMESTAMPS)),
    ]


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary put to one task in one language; the names are openai-whisper's.

    language: a code, or None where the prompt names no language (English-only models). task: "transcribe",
    "translate", or None likewise.
    """

    vocabulary: Vocabulary
    language: str | None = None
    task: str | None = None

    def encode(self, text: str) -> list[int]:
        """Text to token ids.

        Raises:
            OptionError: the text spells a special token, such as ``<|endoftext|>``.
        """
        if "<|" in text:
            for name in self.vocabulary.special_tokens:
                if name in text:
                    raise OptionError("the text holds a special token", found=name, hint="take it out")
        return self.vocabulary.encoding.encode_ordinary(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens to text, timestamps left out; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_with_timestamps([token for token in tokens if token < self.timestamp_begin])

    def decode_with_timestamps(self, tokens: Sequence[int]) -> str:
        """Tokens to text, every special token by its name, such as ``<|1.08|>``."""
        table = self.vocabulary.token_bytes
        return b"".join([table[token] for token in tokens]).decode("utf-8", errors="replace")

    @property
    def n_vocab(self) -> int:
        """Tokens in all."""
        return self.vocabulary.n_vocab

    @property
    def num_languages(self) -> int:
        """Language tokens in the vocabulary."""
        return self.vocabulary.num_languages

    @property
    def eot(self) -> int:
        """End of text; every id below is a text token."""
        return self.vocabulary.eot

    @property
    def sot(self) -> int:
        """Start of transcript."""
        return self.eot + 1

    @property
    def translate(self) -> int:
        """The task of translating into English."""
        return self.sot + 1 + self.num_languages

    @property
    def transcribe(self) -> int:
        """The task of writing down what is said."""
        return self.translate + 1

    @property
    def sot_lm(self) -> int:
        """Start of plain language modelling."""
        return self.translate + 2

    @property
    def sot_prev(self) -> int:
        """Start of the text before this window."""
        return self.translate + 3

    @property
    def no_speech(self) -> int:
        """Nobody speaks in this window."""
        return self.translate + 4

    @property
    def no_timestamps(self) -> int:
        """No timestamps are to follow."""
        return self.translate + 5

    @property
    def timestamp_begin(self) -> int:
        """The timestamp 0.00 s; later ones follow in steps of 0.02 s."""
        return self.translate + 6

    def to_language_token(self, language: str) -> int:
        """The token of a language code.

        Raises:
            OptionError: the vocabulary has no such language.
        """
        if language not in self.all_language_codes:
            raise OptionError(
                "the model does not know this language",
                where="language",
                expected=f"one of its {self.num_languages}",
                found=language,
            )
        return self.sot + 1 + self.all_language_codes.index(language)

    @property
    def language_token(self) -> int:
        """The token of this tokenizer's language; raises OptionError where it has none."""
        if self.language is None:
            raise OptionError("an English-only model has no language tokens", where="language")
        return self.to_language_token(self.language)

    @property
    def all_language_codes(self) -> tuple[str, ...]:
        """The codes of the languages in the vocabulary, in the order of their tokens."""
        return tuple(LANGUAGES)[: self.num_languages]

    @property
    def all_language_tokens(self) -> tuple[int, ...]:
        """The language tokens, ascending."""
        return tuple(range(self.sot + 1, self.sot + 1 + self.num_languages))

    @cached_property
    def sot_sequence(self) -> tuple[int, ...]:
        """How a transcript begins: sot, then language and task where the model knows them."""
        sequence = [self.sot]
        if self.language is not None:
            sequence.append(self.language_token)
        if self.task is not None:
            sequence.append(self.transcribe if self.task == "transcribe" else self.translate)
        return tuple(sequence)

    @property
    def sot_sequence_including_notimestamps(self) -> tuple[int, ...]:
        """How a transcript without timestamps begins."""
        return (*self.sot_sequence, self.no_timestamps)

    @property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Text tokens of anything that is not spoken, sorted."""
        return self.vocabulary.non_speech_tokens

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Group tokens into words; in languages without spaces, into characters.

        Returns:
            the words and, for each, its tokens; joined again they are the input.
        """
        if self.language in UNSPACED:
            return self._split_on_unicode(tokens)
        return self._split_on_spaces(tokens)

    def _split_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Cut wherever the tokens so far are whole characters (or are broken in the full text as well)."""
        full = self.decode_with_timestamps(tokens)
        words: list[str] = []
        word_tokens: list[list[int]] = []
        current: list[int] = []
        offset = 0  # characters of the full text already given out
        for token in tokens:
            current.append(token)
            decoded = self.decode_with_timestamps(current)
            broken = decoded.find(_REPLACEMENT)
            at = offset + broken
            if broken < 0 or at >= len(full) or full[at] == _REPLACEMENT:
                words.append(decoded)
                word_tokens.append(current)
                current = []
                offset += len(decoded)
        return words, word_tokens

    def _split_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Join characters into words that begin with a space; punctuation and special tokens stand alone."""
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for piece, piece_tokens in zip(*self._split_on_unicode(tokens), strict=True):
            begins_word = piece.startswith(" ") or piece.strip() in string.punctuation
            if not words or piece_tokens[0] >= self.eot or begins_word:
                words.append(piece)
                word_tokens.append(piece_tokens)
            else:
                words[-1] += piece
                word_tokens[-1].extend(piece_tokens)
        return words, word_tokens


def build_tokenizer(vocabulary: Vocabulary, *, multilingual: bool, language: str | None, task: str | None) -> Tokenizer:
    """The tokenizer of a model for a language (code, name or alias) and a task.

    A multilingual model defaults to English and "transcribe"; an English-only one has neither in its prompt.

    Raises:
        OptionError: unknown language or task, or one that the model can't do.
    """
    code = None if language is None else language_code(language)
    if task not in (None, *TASKS):
        raise OptionError("unknown task", where="task", expected=" or ".join(TASKS), found=repr(task))
    if multilingual:
        tokenizer = Tokenizer(vocabulary, code or "en", task or "transcribe")
        tokenizer.to_language_token(tokenizer.language or "en")
        return tokenizer
    if code not in (None, "en"):
        raise OptionError(
            "an English-only model can't do this language",
            where="language",
            found=code,
            hint="take a model without .en",
        )
    if task == "translate":
        raise OptionError("an English-only model can't translate", where="task", hint="take a model without .en")
    return Tokenizer(vocabulary)
