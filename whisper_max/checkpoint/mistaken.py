"""What downloads leave in the place of a model's file."""

from __future__ import annotations


def hint_for(head: bytes) -> str | None:
    """What to do about a file that begins so; None where nothing is known of it."""
    if head.startswith(b"version https://git-lfs"):
        return "Git left a pointer in its place: run `git lfs pull`"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page, not the file: download it again"
    return None
