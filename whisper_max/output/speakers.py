"""Who speaks, as formats of text say it."""

from __future__ import annotations


def label(speaker: str | None) -> str:
    """What stands before a text to say whose it is: ``Speaker 1: ``, or nothing."""
    return "" if speaker is None else f"{one_line(speaker)}: "


def one_line(name: str) -> str:
    """A name in one line, its words with one space between."""
    return " ".join(name.split())
