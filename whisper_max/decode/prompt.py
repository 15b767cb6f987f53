"""Text that a window is given by its options: tokens before the transcript, and those that it begins with."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.decode.options import DecodingOptions
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer


def prefix_tokens(dims: ModelDimensions, tokenizer: Tokenizer, options: DecodingOptions) -> tuple[int, ...]:
    """As openai-whisper cuts it: to what ``sample_len`` leaves of half the context; whole by default.

    Raises:
        OptionError: the prefix does not fit in the model's text context.
    """
    half = dims.n_text_ctx // 2
    prefix = text_tokens(tokenizer, "prefix", options.prefix)
    prefix = prefix[-(half - (options.sample_len or half)) :]
    n_start = len(tokenizer.sot_sequence) + options.without_timestamps
    room = dims.n_text_ctx - half - n_start - 1  # beside a full prompt and a token
    if len(prefix) > room:
        raise OptionError("too long", where="prefix", expected=f"at most {room} tokens", found=len(prefix))
    return prefix


def text_tokens(tokenizer: Tokenizer, name: str, given: str | Sequence[int] | None) -> tuple[int, ...]:
    """Text as openai-whisper gives it to the model, after a space; tokens as they are.

    Args:
        name: of the option, for errors.

    Raises:
        OptionError: a token that the vocabulary has not, which the model can't be given.
    """
    if isinstance(given, str):
        return tuple(tokenizer.encode(" " + given.strip())) if given.strip() else ()
    tokens = tuple(given or ())
    if unknown := [token for token in tokens if not 0 <= token < tokenizer.n_vocab]:
        expected = f"ids from 0 to {tokenizer.n_vocab - 1}"
        raise OptionError("no such token", where=name, expected=expected, found=unknown[0])
    return tokens
