"""A stream of elements (Matroska) as a demuxer should get it: without bytes that are no elements.

FFmpeg takes damage for the header of an element that may go on for ever, and leaves out all that comes. This is
``repair`` for what can't be read again. Where bytes are missing, elements end sooner than they tell; so those that are
gone into don't tell it here, and end where the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable

from whisper_max.audio.formats.repair import IN_ROW, Element, Grammar

_LARGEST = 1 << 24  # bytes of an element: what says that it is larger is damaged
_BLOCK = 1 << 12
_MOST_SEARCHED = 1 << 20  # bytes in which elements that follow one another are looked for before any are given away


class RepairedStream:
    """The bytes of a stream, as many as there were.

    Args:
        read: gives the next bytes, as many as there are, up to a number; none at the end.
        grammar: of its elements.
        without_size: makes of the header of an element that is gone into one that does not tell its size.

    Attributes:
        n_damaged: bytes so far that are no elements.
    """

    def __init__(self, read: Callable[[int], bytes], grammar: Grammar, without_size: Callable[[bytes], bytes]) -> None:
        self._source, self._grammar, self._without_size = read, grammar, without_size
        self._waiting = b""  # bytes that were looked at
        self._whole = 0  # bytes of them, and of what follows, that are known to be of an element
        self._place = 0  # of the first one
        self._end: int | None = None  # of the element that these are in; None: not known
        self._has_ended = False
        self.n_damaged = 0

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, up to ``n_bytes``; none at the end."""
        if self._whole == 0:
            self._begin_element()
        if not self._waiting and not self._has_ended:
            self._more()
        taken = self._waiting[: min(n_bytes, self._whole)]
        self._waiting = self._waiting[len(taken) :]
        self._whole -= len(taken)
        self._place += len(taken)
        return taken

    def _more(self) -> None:
        data = self._source(_BLOCK)
        self._has_ended = not data
        self._waiting += data

    def _look(self, at: int) -> bytes:
        """The bytes by which an element is known that begins at one that waits."""
        look = self._grammar.look
        while len(self._waiting) < at + look and not self._has_ended:
            self._more()
        return self._waiting[at : at + look]

    def _begin_element(self) -> None:
        element = self._element(0)
        while element is None and self._waiting:
            damaged = self._search()
            self._waiting = self._waiting[damaged:]
            self._place += damaged
            self.n_damaged += damaged
            element = self._element(0)
        if element is None:
            return
        self._whole = element.size
        if element.size <= self._grammar.look:  # that of a header is
            header = self._without_size(self._waiting[: element.size])
            self._waiting = header + self._waiting[len(header) :]
        if element.content != 0:
            self._end = None if element.content is None else self._place + element.size + element.content

    def _search(self) -> int:
        """How many bytes are damaged: those before elements that follow one another, or all that were searched."""
        grammar, at = self._grammar, 1
        while self._look(at):
            is_within = self._end is None or self._place + at < self._end
            beginnings = grammar.beginnings if is_within else grammar.outer
            if self._waiting.startswith(beginnings, at) and self._goes_on(at):
                return at
            at += 1
            if at == _MOST_SEARCHED:
                break
        return at

    def _goes_on(self, at: int) -> bool:
        for _ in range(IN_ROW):
            if not self._look(at):
                return True
            element = self._element(at)
            if element is None:
                return False
            at += element.size
        return True

    def _element(self, at: int) -> Element | None:
        """What begins at a byte that waits; None where nothing does that can be where it is."""
        look, place = self._look(at), self._place + at
        element = self._grammar.parse(look)
        if element is None or element.size > _LARGEST:
            return None
        is_within = self._end is None or not place < self._end < place + element.size
        return element if is_within or look.startswith(self._grammar.outer) else None
