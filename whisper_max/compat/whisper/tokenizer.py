"""openai-whisper's ``whisper.tokenizer``: tokenizers of the published vocabularies, without a model."""

from __future__ import annotations

from functools import lru_cache

import tiktoken

from whisper_max.checkpoint.shipped import shipped_vocabulary
from whisper_max.errors import OptionError
from whisper_max.text.languages import ALIASES, LANGUAGES
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer

__all__ = ["LANGUAGES", "TO_LANGUAGE_CODE", "Tokenizer", "get_encoding", "get_tokenizer"]

TO_LANGUAGE_CODE = {name: code for code, name in LANGUAGES.items()} | ALIASES

_ENGLISH_VOCAB = 51864  # rows of an English-only model's embedding; it counts 99 languages that it never uses
_VOCAB_WITHOUT_LANGUAGES = 51766  # of a multilingual one: 51865 with 99 languages, 51866 with 100


def get_tokenizer(
    multilingual: bool, *, num_languages: int = 99, language: str | None = None, task: str | None = None
) -> Tokenizer:
    """The tokenizer of a published model; an English-only one has no language and no task, whatever is given.

    Raises:
        OptionError: an unknown language or task, or a number of languages that no model has.
    """
    if num_languages not in (99, 100) or (num_languages == 100 and not multilingual):
        expected = "99, or 100 where multilingual"
        raise OptionError("no published vocabulary", where="num_languages", expected=expected, found=num_languages)
    vocabulary = _vocabulary(_VOCAB_WITHOUT_LANGUAGES + num_languages if multilingual else _ENGLISH_VOCAB)
    if not multilingual:
        language = task = None
    return build_tokenizer(vocabulary, multilingual=multilingual, language=language, task=task)


def get_encoding(name: str = "gpt2", num_languages: int = 99) -> tiktoken.Encoding:
    """The byte-pair encoder of a published vocabulary: "gpt2", the English one, or "multilingual".

    Raises:
        OptionError: another name, or a number of languages that no model has.
    """
    if name not in ("gpt2", "multilingual"):
        raise OptionError("no published vocabulary", where="name", expected="gpt2 or multilingual", found=repr(name))
    return get_tokenizer(name == "multilingual", num_languages=num_languages).encoding


@lru_cache(maxsize=3)
def _vocabulary(n_vocab: int) -> Vocabulary:
    return Vocabulary(shipped_vocabulary(n_vocab, "whisper_max").tokens, n_vocab)
