"""Where the frames of a file are (mp3, aac in ADTS, AC-3, DTS), by their headers alone.

A frame is known by its header and by the one that follows, so that what looks like one by chance is none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from typing import NamedTuple

from whisper_max.audio.formats.tags import tag_size
from whisper_max.audio.reading import CONVERT_HINT, Reading
from whisper_max.errors import AudioError

_LOOK = 64  # bytes of a frame that are enough to know it
_MOST_STEPS = 100_000  # from one place where a frame might begin to the next: a file with more is none of frames
_MOST_TAGS = 1000  # before the first frame
_BLOCK = 1 << 12
_LONGEST_BEGINNING = 11


class Kind(NamedTuple):
    """What all frames of a recording have in common.

    codec: FFmpeg's name. rate: Hz. n_samples: of a frame, at that rate. more: what else can't change midway.
    """

    codec: str
    rate: int
    n_samples: int
    more: tuple[int, ...] = ()


class Frame(NamedTuple):
    """A frame by its header. size: bytes."""

    kind: Kind
    size: int


class Info(NamedTuple):
    """What stands before a recording. n_frames: how many follow; None where it doesn't tell.

    skip, padding: samples of the encoder, to leave out at the start and at the end.
    """

    n_frames: int | None
    skip: int = 0
    padding: int = 0


@dataclass(frozen=True)
class Syntax:
    """How to know the frames of a format.

    name: for errors. beginning: matches where a frame or a tag may begin. frame: what begins with these bytes, if any.
    info: what a frame at a place of the file, with these first bytes, tells of those behind it, if it is no sound; by
    default all are. in_row: frames that have to follow one that is not known by those before it. silent: bytes of a
    frame, or less, that tells that nobody speaks.
    """

    name: str
    beginning: re.Pattern[bytes]
    frame: Callable[[bytes], Frame | None]
    info: Callable[[FileIO, int, bytes, Frame], Info | None] = lambda *_: None
    in_row: int = 1
    silent: int = 0


class Found(NamedTuple):
    """What is at a place of the file: a frame, or other bytes that are no tag. is_cut: only its begin is there."""

    span: range
    frame: Frame | None = None
    info: Info | None = None
    is_cut: bool = False


class Rest(NamedTuple):
    """What is behind a place of a recording. n_junk: bytes that are neither frames nor tags, but those at its end."""

    n_frames: int
    n_junk: int
    is_cut: bool


def begins(file: FileIO, syntax: Syntax, reading: Reading) -> bool:
    """True where the file begins with a frame, or with tags and then a frame."""
    place = 0
    for _ in range(_MOST_TAGS):
        reading.watch()
        look = os.pread(file.fileno(), _LOOK, place)
        size = tag_size(file, look, place)
        if size == 0:
            frame = syntax.frame(look)
            return frame is not None and _goes_on(file, place, frame, syntax)
        place += size
    return False


def follow(file: FileIO, syntax: Syntax, reading: Reading) -> bool:
    """True where frames follow on other bytes with which the file begins."""
    return any(
        found.frame is not None and not found.is_cut for found in islice(walk(file, syntax, reading), _MOST_TAGS)
    )


def walk(file: FileIO, syntax: Syntax, reading: Reading, place: int = 0) -> Iterator[Found]:
    """The frames of a file from a place on, and the bytes between them, tags left out."""
    n_bytes = os.fstat(file.fileno()).st_size
    n_junk, n_steps = 0, 0
    kind: Kind | None = None  # of the frame that ends here
    while place < n_bytes:
        reading.watch()
        look = os.pread(file.fileno(), _LOOK, place)
        frame = syntax.frame(look)
        in_row = frame is not None and frame.kind == kind
        is_whole = frame is not None and place + frame.size <= n_bytes
        if frame is not None and in_row and not is_whole:
            yield Found(range(place, n_bytes), frame, is_cut=True)
            return
        if frame is not None and is_whole and (in_row or _goes_on(file, place, frame, syntax)):
            span = range(place, place + frame.size)
            yield Found(span, frame, syntax.info(file, place, look, frame))
            place, kind = span.stop, frame.kind
        elif size := tag_size(file, look, place):
            place += size
        else:
            end = _find_frame(file, range(place + 1, n_bytes), syntax)
            n_junk += end - place
            n_steps += 1
            if n_steps > _MOST_STEPS:
                raise damaged(n_junk, syntax, reading.where)
            yield Found(range(place, end))
            place, kind = end, None


def count_rest(file: FileIO, syntax: Syntax, reading: Reading, place: int) -> Rest:
    """Count what is behind the begin of a frame, up to where another recording begins."""
    n_frames = n_junk = n_more = 0
    kind: Kind | None = None
    for found in walk(file, syntax, reading, place):
        if found.is_cut:
            return Rest(n_frames, n_junk, True)
        if found.frame is None:
            n_more += len(found.span)
            continue
        if found.info is not None or (kind is not None and kind != found.frame.kind):
            break
        kind, n_frames, n_junk, n_more = found.frame.kind, n_frames + 1, n_junk + n_more, 0
    return Rest(n_frames, n_junk, False)


def _goes_on(file: FileIO, place: int, frame: Frame, syntax: Syntax) -> bool:
    """True where behind this frame come others of its kind, a tag or the end: then it is none by chance."""
    behind: Frame | None = frame
    for _ in range(syntax.in_row):
        if behind is None or behind.kind != frame.kind:
            return False
        place += behind.size
        look = os.pread(file.fileno(), _LOOK, place)
        if not look or tag_size(file, look, place) > 0:
            return True
        behind = syntax.frame(look)
    return behind is not None and behind.kind == frame.kind


def _find_frame(file: FileIO, span: range, syntax: Syntax) -> int:
    """The next place where a frame or a tag may begin; the end where there is none."""
    place = span.start
    while place < span.stop:
        block = os.pread(file.fileno(), _BLOCK, place)
        found = syntax.beginning.search(block)
        if found:
            return place + found.start()
        place += max(1, len(block) - _LONGEST_BEGINNING)
    return span.stop


def damaged(n_junk: int, syntax: Syntax, where: str) -> AudioError:
    """The error for a file with too much else than frames."""
    return AudioError(
        "damaged", where=where, expected=f"frames of {syntax.name}", found=f"{n_junk} other bytes", hint=CONVERT_HINT
    )
