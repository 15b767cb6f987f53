"""openai-whisper's ``whisper.normalizers.basic``, from the package whisper-normalizer: the extra ``evaluate``."""

from __future__ import annotations

try:
    from whisper_normalizer.basic import (
        ADDITIONAL_DIACRITICS,
        BasicTextNormalizer,
        remove_symbols,
        remove_symbols_and_diacritics,
    )
except ImportError as error:
    raise ImportError("normalizers need an extra: pip install 'whisper-max[evaluate]'") from error

__all__ = ["ADDITIONAL_DIACRITICS", "BasicTextNormalizer", "remove_symbols", "remove_symbols_and_diacritics"]
