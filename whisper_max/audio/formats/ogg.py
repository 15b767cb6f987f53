"""The pages of an ogg file, and the recordings in it: several in a chained stream, as ``cat`` or internet radios make.

RFC 3533: pages of a header, a table of segment lengths and the segments, which make up packets. The first page of each
stream is marked, and so should the last one be, which voice messages and recorders that were killed leave out. A page
has a checksum and a number in its row, by which damaged and lost ones are known.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from typing import NamedTuple

from whisper_max.audio.formats.tags import tag_size
from whisper_max.audio.pieces import count_nonzero
from whisper_max.audio.reading import CONVERT_HINT, Reading
from whisper_max.errors import AudioError

_MARK = b"OggS"
_HEADER = 27  # bytes of a page before the lengths of its segments
_FLAGS, _GRANULE, _SERIAL, _NUMBER, _CHECKSUM, _N_SEGMENTS = 5, 6, 14, 18, 22, 26  # where they stand in it
_CONTINUED, _FIRST_PAGE, _LAST_PAGE = 0x01, 0x02, 0x04
_LARGEST_HEADER = _HEADER + 255  # bytes, the lengths with it
_MOST_DAMAGED = 10_000  # pages: a file with more is not worth the search
_MOST_STREAMS = 10_000  # in all recordings of a file
_MOST_HEADS = 100  # of pages behind the last whole one that are looked at
_FULL = 255  # length of a segment behind which its packet goes on
_NO_GRANULE = -1
_MOST_TAG = 1024  # bytes after the last page that are no page, such as an ID3v1 tag
_BLOCK = 1 << 16
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of a byte in reverse


class Page(NamedTuple):
    """A page whose checksum is right.

    place: its byte in the file. size: bytes. serial: of its stream. number: in the row of the stream's pages. granule:
    the time at the end of its last whole packet, in samples; None where no packet ends. segments: what it holds.
    """

    place: int
    size: int
    flags: int
    serial: int
    number: int
    granule: int | None
    segments: list[bytes]

    @property
    def is_first(self) -> bool:
        """True where a stream begins."""
        return bool(self.flags & _FIRST_PAGE)

    @property
    def is_continued(self) -> bool:
        """True where it begins with the rest of a packet."""
        return bool(self.flags & _CONTINUED)

    def packets(self) -> Iterator[tuple[bytes, bool]]:
        """The packets, and parts of them at its ends, each with whether it ends here."""
        parts: list[bytes] = []
        for segment in self.segments:
            parts.append(segment)
            if len(segment) < _FULL:
                yield b"".join(parts), True
                parts = []
        if parts:
            yield b"".join(parts), False


@dataclass
class Link:
    """One recording of the file.

    span: its bytes. heads: the first page of each of its streams. is_cut: its last page is damaged or not whole.
    is_damaged: any page is.
    """

    span: range
    heads: list[Page] = field(default_factory=list)
    is_cut: bool = False
    is_damaged: bool = False


def find_links(file: FileIO, reading: Reading) -> list[Link]:
    """The recordings in the file; none where it is no ogg file.

    Raises:
        AudioError: where the reading is strict, a page is damaged or cut short, a recording does not end with a page
            that is marked as the last, or other bytes are between pages.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    start = tag_size(file, os.pread(file.fileno(), _HEADER, 0), 0)
    if os.pread(file.fileno(), len(_MARK), start) != _MARK:
        return []
    links: list[Link] = []
    flags, n_streams = _LAST_PAGE, 0
    for page in read_pages(file, range(start, n_bytes), reading):
        if page is None:
            if links:
                links[-1].is_cut = links[-1].is_damaged = True
            continue
        if page.is_first:
            if not links or not flags & _FIRST_PAGE:  # those side by side begin together
                if links:
                    links[-1].span = range(links[-1].span.start, page.place)
                _check_last(flags, page.place, reading)
                links.append(Link(range(page.place, n_bytes)))
            links[-1].heads.append(page)
            n_streams += 1
            if n_streams > _MOST_STREAMS:
                raise AudioError("too many streams", where=reading.where, expected=f"at most {_MOST_STREAMS}")
        if links:
            links[-1].is_cut = False
        flags = page.flags
    _check_last(flags, n_bytes, reading)
    return links


def read_pages(file: FileIO, span: range, reading: Reading) -> Iterator[Page | None]:
    """The whole pages in a range of bytes; None for what is in the place of one but damaged or cut off.

    Raises:
        AudioError: where the reading is strict, there is anything else.
    """
    place, n_damaged = span.start, 0
    while place < span.stop:
        reading.watch()
        size = _page_size(os.pread(file.fileno(), min(_LARGEST_HEADER, span.stop - place), place))
        content = b"" if size is None else os.pread(file.fileno(), min(size, span.stop - place), place)
        if len(content) == size and _checksum(content) == content[_CHECKSUM:_N_SEGMENTS]:
            yield _parse(content, place)
            place += size
            continue
        following = _find_page(file, place + 1, span.stop)
        if reading.strict:
            _refuse(file, range(place, following), is_cut=size is not None and size > len(content), reading=reading)
        begins = os.pread(file.fileno(), len(_MARK), place) == _MARK  # of which the file may end in the header
        if size is not None or begins or following < span.stop:
            n_damaged += 1
            if n_damaged > _MOST_DAMAGED:
                found = f"more than {_MOST_DAMAGED} that are damaged"
                raise AudioError("damaged", where=reading.where, expected="pages of ogg", found=found)
            yield None
        place = following


def find_lost_end(file: FileIO, link: Link, last: Page) -> tuple[int, bool] | None:
    """What the head of a damaged or cut page tells of the end of a recording whose last whole page is known.

    Returns:
        The time at its end, in samples, and whether all its bytes are there; None where there is no head to believe.
    """
    found = None
    place = _find_page(file, last.place + last.size, link.span.stop)
    for _ in range(_MOST_HEADS):
        head = os.pread(file.fileno(), min(_LARGEST_HEADER, link.span.stop - place), place)
        size = _page_size(head)
        if size is None:
            break
        page = _parse(head, place)
        if page.serial == last.serial and page.granule is not None and 0 < page.number - last.number <= _MOST_HEADS:
            found = page.granule, place + size <= link.span.stop
        place = _find_page(file, place + 1, link.span.stop)
    return found


def tell_cut(reading: Reading, now: float, end: float | None = None) -> None:
    """Tell that the last page is not whole, which reaches from now to end, in seconds, where that is known."""
    expected, found = "a whole last page", "a part of it"
    reading.warn("truncated", now, now if end is None else end, "truncated", expected=expected, found=found)


def _parse(content: bytes, place: int) -> Page:
    granule = int.from_bytes(content[_GRANULE:_SERIAL], "little", signed=True)
    end = _HEADER + content[_N_SEGMENTS]
    segments, at = [], end
    for length in content[_HEADER:end]:
        segments.append(content[at : at + length])
        at += length
    return Page(
        place=place,
        size=len(content),
        flags=content[_FLAGS],
        serial=int.from_bytes(content[_SERIAL:_NUMBER], "little"),
        number=int.from_bytes(content[_NUMBER:_CHECKSUM], "little"),
        granule=None if granule == _NO_GRANULE else granule,
        segments=segments,
    )


def _page_size(content: bytes) -> int | None:
    """Bytes of a page by its header; None where none begins here."""
    if not content.startswith(_MARK) or len(content) < _HEADER or len(content) < _HEADER + content[_N_SEGMENTS]:
        return None
    end = _HEADER + content[_N_SEGMENTS]
    return end + sum(content[_HEADER:end])


def _checksum(page: bytes) -> bytes:
    """The checksum of a page: CRC-32 of zlib's polynomial, but from 0 and with the bits of each byte in reverse."""
    content = page[:_CHECKSUM] + bytes(4) + page[_N_SEGMENTS:]
    crc = zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4).translate(_MIRRORED)


def _find_page(file: FileIO, place: int, stop: int) -> int:
    for start in range(place, stop, _BLOCK):
        at = os.pread(file.fileno(), min(_BLOCK + len(_MARK) - 1, stop - start), start).find(_MARK)
        if at >= 0:
            return start + at
    return stop


def _refuse(file: FileIO, other: range, *, is_cut: bool, reading: Reading) -> None:
    """Raise an error for what is no page, unless that is a tag or padding at the end."""
    if is_cut:
        raise _truncated(f"a page cut short at byte {other.start}", reading)
    if other.stop < os.fstat(file.fileno()).st_size or count_nonzero(file, other.start, other.stop) > _MOST_TAG:
        where = f"{reading.where}, byte {other.start}"
        raise AudioError("damaged", where=where, expected="a page", found="other bytes", hint=CONVERT_HINT)


def _check_last(flags: int, place: int, reading: Reading) -> None:
    if reading.strict and not flags & _LAST_PAGE:
        raise _truncated(f"a page that is not marked as the last at byte {place}", reading)


def _truncated(found: str, reading: Reading) -> AudioError:
    return AudioError("truncated", where=reading.where, expected="a last page", found=found, hint=CONVERT_HINT)
