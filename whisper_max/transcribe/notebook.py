"""A transcript as a notebook shows it: a player, and words or segments that play from where they are said."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whisper_max.transcribe.segment import Segment

_LARGEST = 20 << 20  # bytes of a recording that are put into the page
_PLAY = "var a=this.closest('div').querySelector('audio');if(a){{a.currentTime={start:.2f};a.play()}}"


def as_html(segments: Sequence[Segment], language: str, duration: float, source: Path | None) -> str:
    """The transcript as HTML that holds all it needs; everything that was said or named is escaped.

    Args:
        segments: with words or without.
        language: a code, or empty.
        duration: of the recording, in seconds.
        source: the recording, which is played where it is a file that is still there and not larger than 20 MiB.
    """
    lines = "".join(
        f"<p>{_who(segment.speaker)}{''.join(_pieces(segment))}</p>" for segment in segments if segment.text.strip()
    )
    about = f"{escape(language or 'nothing said')}, {duration:.1f} s"
    return f'<div lang="{escape(language)}" class="whisper-max">{_player(source)}{lines}<small>{about}</small></div>'


def _who(speaker: str | None) -> str:
    return "" if speaker is None else f"<b>{escape(speaker)}:</b> "


def _pieces(segment: Segment) -> Iterator[str]:
    """The words of a segment, or its text, each with the time that it plays from."""
    said = [(word.word, word.start) for word in segment.words or ()] or [(segment.text, segment.start)]
    for text, start in said:
        play = escape(_PLAY.format(start=start))
        yield f'<span title="{start:.2f} s" style="cursor:pointer" onclick="{play}">{escape(text)}</span>'


def _player(source: Path | None) -> str:
    """The recording in a player; nothing where it can't be read or is large."""
    if source is None:
        return ""
    try:
        if not source.is_file() or source.stat().st_size > _LARGEST:
            return ""
        sound = base64.b64encode(source.read_bytes()).decode("ascii")
    except OSError:
        return ""
    kind = mimetypes.guess_type(source.name)[0] or "audio/wav"
    return f'<audio controls preload="metadata" src="data:{escape(kind)};base64,{sound}"></audio>'
