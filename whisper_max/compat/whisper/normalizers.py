"""openai-whisper's ``whisper.normalizers``, from the package whisper-normalizer: the extra ``evaluate``."""

from __future__ import annotations

try:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer
except ImportError as error:
    raise ImportError("normalizers need an extra: pip install 'whisper-max[evaluate]'") from error

__all__ = ["BasicTextNormalizer", "EnglishTextNormalizer"]
