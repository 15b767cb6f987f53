"""The text that a decoding is prompted with."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.live.events import LiveWord
from whisper_max.transcribe.options import HIGH_TEMPERATURE, TranscribeOptions

_LENGTH = 200  # characters of what was said before


class Prompt:
    """The initial prompt, and the last of what was committed and is no more in the audio.

    Args:
        options: of decoding: initial_prompt comes first always; without condition_on_previous_text it is all.
    """

    def __init__(self, options: TranscribeOptions) -> None:
        self._initial = str(options.initial_prompt or "").strip()
        self._conditions = bool(options.condition_on_previous_text)
        self._said = ""

    @property
    def text(self) -> str | None:
        """The prompt; None where there is nothing to say."""
        return f"{self._initial} {self._said.strip()}".strip() or None

    def add(self, words: Sequence[LiveWord]) -> None:
        """Take the words that come next."""
        if not self._conditions:
            return
        for word in words:
            self._said = "" if word.origin.temperature > HIGH_TEMPERATURE else self._said + word.word
        if len(self._said) > _LENGTH:
            kept = self._said[-_LENGTH:]
            self._said = kept[kept.find(" ") + 1 :]  # whole words, where there are spaces
