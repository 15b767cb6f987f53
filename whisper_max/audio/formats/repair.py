"""Files of elements in a row (Matroska, fragments of mp4, flv): where bytes are none, and how to read on behind them.

Demuxers leave out the whole of what holds a damaged element, such as seconds of a cluster, or all to the end. Here
the elements are walked by their headers alone; what is none, up to the next ones, is given to the demuxer as an element
that it passes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from whisper_max.audio.pieces import Piece, Pieces
from whisper_max.audio.reading import Reading

_BLOCK = 1 << 16
_MOST_DAMAGED = 1000  # places: a file with more is not worth the search
_MANY, _LEAST = 50_000, 12  # elements, and bytes of each in mean: more that are smaller are made to be walked for ever
_STEPS = 256  # elements between two looks at whether to go on
IN_ROW = 3  # elements that have to follow one another where the file is read on


class Element(NamedTuple):
    """One element by its header.

    size: bytes to the next one, which is behind it or, in one that is gone into, in it. content: bytes of what is in
    one that is gone into, 0 in others; None where it does not tell and may go on to the end of the file.
    """

    size: int
    content: int | None = 0


@dataclass(frozen=True)
class Grammar:
    """How to know the elements of a format.

    look: bytes by which one is known. parse: what begins with these, of which there are less at the end of the file;
    None where nothing does. beginnings: how elements begin behind which the file may be read on, some bytes into them
    (``beginning_at``); outer: those of them that stand in no other. filler: the header of an element of so many bytes
    that is passed over; none of less than ``least``.
    """

    look: int
    parse: Callable[[bytes], Element | None]
    beginnings: tuple[bytes, ...]
    outer: tuple[bytes, ...]
    filler: Callable[[int], bytes]
    least: int
    beginning_at: int = 0


@dataclass
class Repaired:
    """A file as the demuxer gets it.

    source: what it reads. behind: for each damaged place, the byte behind it. is_cut: it ends within an element.
    """

    source: Pieces
    behind: list[int] = field(default_factory=list)
    is_cut: bool = False


def repair(source: Pieces, start: int, grammar: Grammar, reading: Reading) -> Repaired:
    """Walk the elements of a file from byte ``start`` to its end."""
    n_bytes = len(source)
    found, pieces = Repaired(source), list[Piece]()
    walk = _Walk(source, n_bytes, grammar)
    place = last = start  # of this element, and of the one before
    end = n_bytes  # of the element that these are in
    kept = 0  # all bytes before this are in pieces
    n_elements = 0
    while place < n_bytes and (n_elements < _MANY or place > _LEAST * n_elements):
        if n_elements % _STEPS == 0:
            reading.watch()
        n_elements += 1
        element = walk.element(place)
        if element is not None and place + element.size <= n_bytes:
            last, place = place, place + element.size
            if element.content != 0:
                end = n_bytes if element.content is None else min(n_bytes, place + element.content)
            continue
        following = walk.find(last + 1, end)
        if following is None or len(found.behind) == _MOST_DAMAGED:
            found.is_cut = element is not None
            break
        begin = place if grammar.least <= following - place else last
        for part in _parts(begin, end, following):
            filler = grammar.filler(len(part)) if len(part) >= grammar.least else b""
            pieces += [range(kept, part.start), filler]
            kept = part.start + len(filler)
        found.behind.append(following)
        last = place = following
    if found.behind:
        found.source = source.of([*pieces, range(kept, n_bytes)])
    return found


def _parts(begin: int, end: int, following: int) -> Iterator[range]:
    """What is damaged inside of an element that ends at ``end``, and behind it."""
    if begin < end < following:
        yield range(begin, end)
        begin = end
    yield range(begin, following)


class _Walk:
    """Elements by their place; the file is read in blocks."""

    def __init__(self, source: Pieces, n_bytes: int, grammar: Grammar) -> None:
        self._source, self._n_bytes, self._grammar = source, n_bytes, grammar
        self._start, self._content = 0, b""

    def element(self, place: int) -> Element | None:
        """What begins at a place; None where nothing does."""
        look = self._grammar.look
        if not self._start <= place <= self._start + len(self._content) - look:
            self._start, self._content = place, self._source.peek(place, max(look, _BLOCK if look < _BLOCK else 0))
        return self._grammar.parse(self._content[place - self._start :][:look])

    def find(self, place: int, end: int) -> int | None:
        """The next place at which elements follow one another; from ``end`` on, the first one is an outer one."""
        grammar = self._grammar
        found = self._next(grammar.beginnings, place, end)
        while found is not None and not self._goes_on(found):
            found = self._next(grammar.beginnings, found + 1, end)
        if found is not None:
            return found
        found = self._next(grammar.outer, max(place, end), self._n_bytes)
        while found is not None and not self._goes_on(found):
            found = self._next(grammar.outer, found + 1, self._n_bytes)
        return found

    def _next(self, beginnings: tuple[bytes, ...], place: int, stop: int) -> int | None:
        at = self._grammar.beginning_at
        place += at
        while place < stop:
            content = self._source.peek(place, min(_BLOCK, stop - place))
            found = [first for first in map(content.find, beginnings) if first >= 0]
            if found:
                return place + min(found) - at
            place += max(1, len(content) - max(map(len, beginnings)) + 1)
        return None

    def _goes_on(self, place: int) -> bool:
        for _ in range(IN_ROW):
            if place == self._n_bytes:
                return True
            element = self.element(place)
            if element is None or place + element.size > self._n_bytes:
                return False
            place += element.size
        return True
