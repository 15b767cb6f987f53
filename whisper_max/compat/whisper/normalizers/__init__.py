"""openai-whisper's ``whisper.normalizers``, from the package whisper-normalizer: the extra ``evaluate``."""

from whisper_max.compat.whisper.normalizers.basic import BasicTextNormalizer
from whisper_max.compat.whisper.normalizers.english import EnglishTextNormalizer

__all__ = ["BasicTextNormalizer", "EnglishTextNormalizer"]
