"""openai-whisper's ``exact_div``, which two of its modules have."""

from __future__ import annotations

from whisper_max.errors import OptionError


def exact_div(x: int, y: int) -> int:
    """``x / y`` of whole numbers.

    Raises:
        OptionError: something is left over.
    """
    quotient, rest = divmod(x, y)
    if rest:
        raise OptionError("not divisible", where="x", expected=f"a multiple of {y}", found=x)
    return quotient
