"""openai-whisper's ``whisper.normalizers.english``, from the package whisper-normalizer: the extra ``evaluate``."""

from __future__ import annotations

from whisper_max.compat.whisper.normalizers.basic import remove_symbols_and_diacritics

try:
    from whisper_normalizer.english import EnglishNumberNormalizer, EnglishSpellingNormalizer, EnglishTextNormalizer
except ImportError as error:
    raise ImportError("normalizers need an extra: pip install 'whisper-max[evaluate]'") from error

__all__ = [
    "EnglishNumberNormalizer",
    "EnglishSpellingNormalizer",
    "EnglishTextNormalizer",
    "remove_symbols_and_diacritics",
]
