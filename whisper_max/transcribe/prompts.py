"""Text that the options put before the windows of a recording, and at the start of the first one's transcript."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.decode.prompt import text_tokens
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.options import TranscribeOptions


def initial_prompt(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> list[int]:
    """Text after a space, be it empty, as openai-whisper has it; tokens as they are."""
    if isinstance(prompt, str):
        return tokenizer.encode(" " + prompt.strip())
    return list(text_tokens(tokenizer, "initial_prompt", prompt))


def first_tokens(tokenizer: Tokenizer, options: TranscribeOptions, n_text_ctx: int) -> tuple[int, ...]:
    """What the transcript of the first window begins with: ``first_prefix``, after the time 0 where there are times."""
    prefix = text_tokens(tokenizer, "first_prefix", options.first_prefix)[: n_text_ctx // 2 - 1]
    return prefix if options.without_timestamps or not prefix else (tokenizer.timestamp_begin, *prefix)


class CarriedPrompt:
    """The initial prompt before every window, and as much of the text before it as there is room for.

    Args:
        initial: the tokens of the initial prompt.
        tokenizer, options: of the recording.
        n_tokens: that a prompt may have, hotwords included, which stand before it.
    """

    def __init__(self, initial: Sequence[int], tokenizer: Tokenizer, options: TranscribeOptions, n_tokens: int) -> None:
        self._initial = tuple(initial)
        self._room = max(0, n_tokens - len(text_tokens(tokenizer, "hotwords", options.hotwords)) - len(initial))

    def before(self, history: Sequence[int]) -> tuple[int, ...]:
        """The prompt of the next window. history: the tokens before it."""
        return (*self._initial, *(history[-self._room :] if self._room else ()))
