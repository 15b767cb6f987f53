"""Spans of time that last none get some, so that what is shown in them can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from whisper_max.output.timestamps import milliseconds

Times: TypeAlias = "tuple[float, float]"
"""Start and end in seconds."""
_Milliseconds: TypeAlias = "tuple[int, int]"


def lengthen(spans: Sequence[Times], wanted: float, limit: float = math.inf) -> list[Times]:
    """Spans in order, each of a millisecond or more; those that have that stay, but for what their neighbours need.

    A span without length takes the pause after it, then up to half of the next span or, at the end, of the one before.

    Args:
        spans: in order of time.
        wanted: seconds for each that has none, where there is room.
        limit: seconds after which none ends that had no length.

    Raises:
        OutputError: a time that no format can hold.
    """
    given = [(milliseconds(start), milliseconds(end)) for start, end in spans]
    longer = list(given)
    first = 0
    while first < len(longer):
        stop = first
        while (
            stop < len(longer) and not _lasts(longer[stop]) and _is_crowded(longer, first, stop, milliseconds(wanted))
        ):
            stop += 1
        if stop > first:
            _spread(longer, first, stop, milliseconds(wanted), limit * 1000)
        first = max(stop, first + 1)
    return [
        span if before == after else (after[0] / 1000, after[1] / 1000)
        for span, before, after in zip(spans, given, longer, strict=True)
    ]


def _is_crowded(spans: Sequence[_Milliseconds], first: int, index: int, wanted: int) -> bool:
    """True for the first span, and for those that start before the ones from it on have all they want."""
    return index == first or spans[index][0] < spans[first][0] + (index - first) * wanted


def _lasts(span: _Milliseconds) -> bool:
    return span[1] > span[0]


def _spread(spans: list[_Milliseconds], first: int, stop: int, wanted: int, limit: float) -> None:
    """Give spans ``first`` to ``stop``, which have no length, an equal part of what there is.

    All in whole milliseconds: a half of one would be rounded away where it is written.
    """
    count = stop - first
    begin = spans[first][0]
    end = begin + count * wanted
    if stop < len(spans):
        start, last = spans[stop]
        if begin <= start < end:
            end = min(end, (start + last) // 2)
            spans[stop] = (max(start, end), last)
    elif first > 0 and _lasts(spans[first - 1]) and spans[first - 1][1] <= begin:
        start, last = spans[first - 1]
        begin, end = max(begin - (end - begin), (start + last + 1) // 2), begin  # which keeps a millisecond
        spans[first - 1] = (start, min(last, begin))
    elif end > limit:
        end = int(limit)
        begin = max(0, min(begin, end - count * wanted))
    room = max(end - begin, count)
    borders = [begin + room * number // count for number in range(count + 1)]
    spans[first:stop] = pairwise(borders)
