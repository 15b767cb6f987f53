"""Doors for programs written for other Whisper packages: their names, arguments, defaults and result types.

A program changes its import and keeps the rest. There is no decoding in here: every call becomes one of
``whisper_max``'s own, and an argument that can't be honoured is refused by name with an ``OptionError``, an attribute
that has no counterpart with a ``NotOfferedError``.

A program that can't be edited runs as ``python -m whisper_max.compat run PROGRAM``, or calls ``install()`` first: both
give the adapters the peers' own names, ``whisper`` and ``faster_whisper``.
"""

from whisper_max.compat.aliases import install

__all__ = ["install"]
