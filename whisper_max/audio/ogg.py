"""The recordings in an ogg file, which may be several: a chained stream, such as ``cat`` or an internet radio makes.

RFC 3533: pages of a header, a table of segment lengths and the segments; the first page of each stream is marked, and
so is its last one.
"""

from __future__ import annotations

import os
from io import FileIO

from whisper_max.audio.pieces import count_nonzero
from whisper_max.audio.tags import tag_size
from whisper_max.errors import AudioError

_MARK = b"OggS"
_HEADER = 27  # bytes of a page before the lengths of its segments
_FLAGS, _N_SEGMENTS = 5, 26  # where they stand in it
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_MOST_TAG = 1024  # bytes after the last page that are no page, such as an ID3v1 tag
_HINT = "get the whole file, or convert what is there to wav"


def find_links(file: FileIO, where: str) -> list[range]:
    """The bytes of each recording in the file; none where it is no ogg file.

    Raises:
        AudioError: a page is cut short, a recording does not end with a last page, or other bytes are between pages.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    starts: list[int] = []
    place, flags = tag_size(file, os.pread(file.fileno(), _HEADER, 0), 0), _LAST_PAGE
    while place < n_bytes:
        page = os.pread(file.fileno(), _HEADER + 255, place)
        if not page.startswith(_MARK):
            break
        size = _page_size(page)
        if size is None or place + size > n_bytes:
            raise _truncated("a page cut short", place, where)
        if page[_FLAGS] & _FIRST_PAGE and (
            not starts or not flags & _FIRST_PAGE
        ):  # streams side by side begin together
            _check_last(flags, place, where)
            starts.append(place)
        flags = page[_FLAGS]
        place += size
    if not starts:
        return []
    _check_last(flags, place, where)
    if count_nonzero(file, place, n_bytes) > _MOST_TAG:
        raise AudioError("damaged", where=f"{where}, byte {place}", expected="a page", found="other bytes", hint=_HINT)
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], place], strict=True)]


def _page_size(page: bytes) -> int | None:
    """Bytes of a page by its header; None where that is cut."""
    if len(page) < _HEADER or len(page) < _HEADER + page[_N_SEGMENTS]:
        return None
    end = _HEADER + page[_N_SEGMENTS]
    return end + sum(page[_HEADER:end])


def _check_last(flags: int, place: int, where: str) -> None:
    if not flags & _LAST_PAGE:
        raise _truncated("a page that is not marked as the last", place, where)


def _truncated(found: str, place: int, where: str) -> AudioError:
    return AudioError("truncated", where=where, expected="a last page", found=f"{found} at byte {place}", hint=_HINT)
