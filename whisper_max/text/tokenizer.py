"""The tokenizer: text to token ids and back, the special tokens, and tokens grouped into words.

A vocabulary is the checkpoint's own table of byte strings and ranks; the special tokens follow it in one fixed order,
so their ids need no table of their own.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from whisper_max.errors import CheckpointError, OptionError
from whisper_max.text.languages import TASKS, UNSPACED, code_in
from whisper_max.text.special_tokens import (
    NAMES,
    SECONDS_PER_TIMESTAMP,
    SpecialTokens,
    published_special_tokens,
    stated_special_tokens,
)

if TYPE_CHECKING:
    import tiktoken

__all__ = ["SECONDS_PER_TIMESTAMP", "Tokenizer", "Vocabulary", "build_tokenizer"]

# How GPT-2 cuts text into pieces before merging bytes: contractions, words, numbers, the rest, and spaces.
_PIECES = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_N_ENGLISH_TEXT = 50256  # text tokens of the published English-only vocabulary; the multilingual one has one more
_REPLACEMENT = "\ufffd"

# Symbols that stand for sounds, speakers and notation, not for speech (openai/whisper ``tokenizer.py``).
_CHARACTERS = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_GROUPS = "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
_MUSIC = "♩♪♫♬♭♮♯"  # each may take several tokens; the first one is enough to suppress them


class Vocabulary:
    """The tokens of one checkpoint: what its tokenizers share, whatever their language and task.

    Args:
        tokens: byte string of each text token, by id.
        n_vocab: rows of the token embedding.
        stated: name of each special token that the checkpoint states -> its id; where it states no start of the
            transcript, they are taken in the published order.
        words: text of each token that was added behind the special ones -> its id.
        multilingual: whether prompts name a language and a task; None where the number of text tokens tells.
        languages: names of stated tokens that are said to be of languages, Whisper's own or not.

    Attributes:
        specials: the ids of the special tokens.
        special_tokens: the same by name.
        unused: rows of the embedding that no token has.

    Raises:
        CheckpointError: these don't belong together.
    """

    def __init__(
        self,
        tokens: Collection[bytes],
        n_vocab: int,
        stated: Mapping[str, int] | None = None,
        words: Mapping[str, int] | None = None,
        multilingual: bool | None = None,
        languages: Collection[str] = (),
    ) -> None:
        self.n_vocab = n_vocab
        self.words = dict(words or {})
        if stated and NAMES["sot"][0] in stated:
            self.specials = stated_special_tokens({**stated, **self.words}, n_vocab, languages)
        else:
            self.specials = published_special_tokens(len(tokens), n_vocab)
            _check_stated(stated or {}, self.specials)
        self.is_multilingual = len(tokens) != _N_ENGLISH_TEXT if multilingual is None else multilingual
        self.special_tokens = {name: i for name, i in self.specials.by_name().items() if name not in self.words}
        self._tokens = tokens
        used = {*self.special_tokens.values(), *self.words.values()}
        self.unused = tuple(token for token in range(len(tokens), n_vocab) if token not in used)

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages that a transcript can be in, in the order of their tokens."""
        return tuple(self.specials.languages) if self.is_multilingual else ("en",)

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        """The byte-pair encoder, built when first needed: it takes a tenth of a second."""
        import tiktoken

        return tiktoken.Encoding(
            name="whisper",
            pat_str=_PIECES,
            mergeable_ranks=self._ranks(),
            special_tokens=self.special_tokens | self.words,
        )

    def is_text(self, token: int) -> bool:
        """Whether a token stands for text: a text token, or a word that was added."""
        return token < len(self._tokens) or token in self._word_ids

    @cached_property
    def _word_ids(self) -> frozenset[int]:
        return frozenset(self.words.values())

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """What each token stands for, by id; special tokens by their name, rows without a token by nothing."""
        table = [*self._tokens, *[b""] * (self.n_vocab - len(self._tokens))]
        for name, token in (self.special_tokens | self.words).items():
            table[token] = name.encode()
        return table

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Text tokens of speaker tags, music notes and brackets, plus a hyphen or quote that begins a word; sorted."""
        ranks = self._ranks()
        found = {_merged(" -", ranks)[0], _merged(" '", ranks)[0]}
        for symbol in (*_CHARACTERS, *_GROUPS.split(), *_MUSIC):
            for tokens in (_merged(symbol, ranks), _merged(" " + symbol, ranks)):
                if len(tokens) == 1 or symbol in _MUSIC:
                    found.add(tokens[0])
        return tuple(sorted(found))

    def _ranks(self) -> dict[bytes, int]:
        """Each text token to its id; made when needed, for it takes ten times the memory of the tokens."""
        return {token: index for index, token in enumerate(self._tokens)}


def _merged(piece: str, ranks: Mapping[bytes, int]) -> list[int]:
    """The tokens of a short piece that ``_PIECES`` doesn't cut, such as symbols after a space.

    Neighbours merge, those first that make the token of the lowest rank, as long as they make one (Sennrich et al.,
    arXiv:1508.07909).
    """
    raw = piece.encode()
    if raw in ranks:
        return [ranks[raw]]
    parts = [bytes([byte]) for byte in raw]
    while merges := [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]:
        _, i = min(merges)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def _check_stated(stated: Mapping[str, int], specials: SpecialTokens) -> None:
    """Refuse a partial statement that contradicts the published order."""
    published = specials.by_name()
    for name, token in stated.items():
        if published.get(name, token) != token:
            raise CheckpointError(f"{name[:80]} has an unusual id", expected=published[name], found=token)


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
        """Text to token ids; what spells a special token, such as ``<|endoftext|>``, is text like any other."""
        words = self.vocabulary.words
        if words:
            return self.vocabulary.encoding.encode(text, allowed_special=set(words), disallowed_special=())
        return self.vocabulary.encoding.encode_ordinary(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens to text, timestamps left out; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_with_timestamps([token for token in tokens if not self.is_timestamp(token)])

    def decode_with_timestamps(self, tokens: Sequence[int]) -> str:
        """Tokens to text, every special token by its name, such as ``<|1.08|>``."""
        table = self.vocabulary.token_bytes
        return b"".join([table[token] for token in tokens]).decode("utf-8", errors="replace")

    @property
    def n_vocab(self) -> int:
        return self.vocabulary.n_vocab

    def is_text(self, token: int) -> bool:
        """Whether a token stands for text."""
        return self.vocabulary.is_text(token)

    def is_timestamp(self, token: int) -> bool:
        """Whether a token stands for a time."""
        return self.timestamp_begin <= token < self.timestamp_end

    @property
    def num_languages(self) -> int:
        """Language tokens in the vocabulary."""
        return len(self.vocabulary.specials.languages)

    @property
    def eot(self) -> int:
        """End of text; every id below is a text token, and every other text token a word that was added."""
        return self.vocabulary.specials.eot

    @property
    def n_competing(self) -> int:
        """Among how many ids, from 0 on, a text token's probability is its share: all where words were added."""
        return self.n_vocab if self.vocabulary.words else self.eot

    @property
    def sot(self) -> int:
        """Start of transcript."""
        return self.vocabulary.specials.sot

    @property
    def translate(self) -> int:
        """The task of translating into English."""
        return self.vocabulary.specials.translate

    @property
    def transcribe(self) -> int:
        """The task of writing down what is said."""
        return self.vocabulary.specials.transcribe

    @property
    def sot_lm(self) -> int:
        """Start of plain language modelling."""
        return self.vocabulary.specials.sot_lm

    @property
    def sot_prev(self) -> int:
        """Start of the text before this window."""
        return self.vocabulary.specials.sot_prev

    @property
    def no_speech(self) -> int:
        """Nobody speaks in this window."""
        return self.vocabulary.specials.no_speech

    @property
    def no_timestamps(self) -> int:
        """No timestamps are to follow."""
        return self.vocabulary.specials.no_timestamps

    @property
    def timestamp_begin(self) -> int:
        """The timestamp 0.00 s; later ones follow in steps of 0.02 s."""
        return self.vocabulary.specials.timestamp_begin

    @property
    def timestamp_end(self) -> int:
        """The id after the timestamp 30.00 s."""
        return self.vocabulary.specials.timestamp_end

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
        return self.vocabulary.specials.languages[language]

    @property
    def language_token(self) -> int:
        """The token of this tokenizer's language; raises OptionError where it has none."""
        if self.language is None:
            raise OptionError("an English-only model has no language tokens", where="language")
        return self.to_language_token(self.language)

    @property
    def all_language_codes(self) -> tuple[str, ...]:
        """The codes of the languages in the vocabulary, in the order of their tokens."""
        return tuple(self.vocabulary.specials.languages)

    @property
    def all_language_tokens(self) -> tuple[int, ...]:
        return tuple(self.vocabulary.specials.languages.values())

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
    def special_tokens(self) -> dict[str, int]:
        return self.vocabulary.special_tokens

    @property
    def encoding(self) -> tiktoken.Encoding:
        return self.vocabulary.encoding

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
            return self.split_tokens_on_unicode(tokens)
        return self.split_tokens_on_spaces(tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
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

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """Join characters into words that begin with a space; punctuation and special tokens stand alone."""
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for piece, piece_tokens in zip(*self.split_tokens_on_unicode(tokens), strict=True):
            begins_word = piece.startswith(" ") or piece.strip() in string.punctuation
            if not words or not self.is_text(piece_tokens[0]) or begins_word:
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
    code = None if language is None else code_in(vocabulary.specials.languages, language)
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
