"""Decoded sound in its place in time: silence where some is missing, whatever the time stamps begin with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from whisper_max.audio.block import BLOCK_FRAMES, Block
from whisper_max.audio.reading import Reading

_JITTER = 0.1  # seconds that time stamps may be off, as in FFmpeg's aresample (min_hard_comp): containers round them
_ROUNDING = 0.002  # the same behind damage, where the gap is certain
# Seconds: a clock set back further begins another stretch, which goes on where the last one ended. Where it then jumps
# to what it would be now had it never been set back, that was a mistake, and none but what it tells is missing.
_SET_BACK = 1.0
_LONG_HOLE = 10.0  # seconds: a longer one is believed when the sound behind it goes on from there
# Seconds of silence that time stamps alone may make, where no header tells of so long a recording: this, and so many
# times the sound before it. One damaged or forged time stamp would else make seconds of sound into a day of silence.
_MOST_UNDECLARED, _UNDECLARED_RATIO = 3600.0, 10.0
_LONGEST_HOLE = 24 * 3600.0  # seconds: a longer jump is one of the clock, not a hole, whatever the header tells


class _Placed(NamedTuple):
    """A block with what is known of its place: see ``Timeline.place``.

    gap: seconds of silence before it. is_stamped: it has a time stamp.
    """

    block: Block
    gap: float
    lost: float
    is_stamped: bool
    is_damaged: bool
    is_meant: bool

    @property
    def seconds(self) -> float:
        return len(self.block.samples) / self.block.sampling_rate


class _Clock(NamedTuple):
    """A clock that was set back.

    shift: from its time stamps to the recording's time. is_damaged: it was set back where something can't be read.
    """

    shift: float
    is_damaged: bool


class Timeline:
    """The time of a recording, which grows as blocks are placed.

    Args:
        reading: where holes are told.
    """

    def __init__(self, reading: Reading) -> None:
        self.seconds = 0.0
        self._reading = reading
        self._shift: float | None = None  # from the time stamps to the recording's time
        self._before: _Clock | None = None  # that was set back
        self._end: float | None = None  # the time stamp at which it ends by its header
        self._is_last = False  # of all that may be
        self._undeclared = 0.0  # seconds of silence that no header tells of
        self._waiting: _Placed | None = None  # behind a long hole, of which the next block tells whether there is one

    @property
    def clock(self) -> float:
        """The time stamp of now."""
        return self.seconds - (self._shift or 0.0)

    def begin(self, origin: float | None, end: float | None = None, *, is_last: bool = False) -> None:
        """Begin a stretch with its own clock.

        Args:
            origin: the time stamp that is now; None: that of its first block.
            end: the time stamp at which it ends by its header, if that tells.
            is_last: no sound can be behind that, so that a long hole is none which ends there.
        """
        self._shift = None if origin is None else self.seconds - origin
        self._before = None
        self._end, self._is_last = end, is_last

    def place(
        self,
        block: Block,
        start: float | None = None,
        *,
        lost: float = 0.0,
        is_damaged: bool = False,
        is_meant: bool = False,
    ) -> Iterator[Block]:
        """A block, and silence before it where it does not follow the last one; behind a long hole with the next one.

        Args:
            block: sound.
            start: its time stamp in seconds; None where it has none.
            lost: seconds before it that can't be decoded.
            is_damaged: True where anything before it can't be read.
            is_meant: True where what is before it is silence by the recording's own account, which is not told.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            yield from self._put(waiting, goes_on=start is None or self._follows(waiting, start))
        placed = _Placed(block, self._gap(start, lost, is_damaged), lost, start is not None, is_damaged, is_meant)
        if placed.gap > _LONG_HOLE and placed.is_stamped:
            self._waiting = placed
        else:
            yield from self._put(placed)

    def finish(self) -> Iterator[Block]:
        """The rest, at the end of a stretch."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            yield from self._put(waiting, goes_on=False)

    def _gap(self, start: float | None, lost: float, is_damaged: bool) -> float:
        """Seconds from now to a time stamp."""
        if start is None:
            return lost
        if self._shift is None:
            self._shift = self.seconds + lost - start
        gap = start + self._shift - self.seconds
        before = self._before
        if gap > _SET_BACK and before is not None:
            returned = start + before.shift - self.seconds
            if abs(returned) <= _SET_BACK or (before.is_damaged and 0 < returned < gap):
                self._shift, self._before = before.shift, None
                return returned
        if gap >= -_SET_BACK:
            return gap
        self._before = _Clock(self._shift, is_damaged)
        self._shift += lost - gap
        return lost

    def _follows(self, waiting: _Placed, start: float) -> bool:
        behind = start + (self._shift or 0.0) - self.seconds - waiting.gap - waiting.seconds
        return abs(behind) <= _SET_BACK

    def _put(self, placed: _Placed, *, goes_on: bool = True) -> Iterator[Block]:
        """A block behind its silence, or right behind the last one where the clock is at fault.

        goes_on: the sound that follows it does so by the time stamps.
        """
        if placed.gap > (_ROUNDING if placed.is_damaged else _JITTER):
            if not self._believes(placed, goes_on):
                placed = self._without_hole(placed, goes_on)
            elif not placed.is_meant:
                self._tell(placed.gap, placed.is_damaged)
            yield from self._silence(placed.block, placed.gap)
        self.seconds += placed.seconds
        yield placed.block

    def _believes(self, placed: _Placed, goes_on: bool) -> bool:
        """True where so much silence can be; it is counted."""
        if placed.is_meant and not placed.is_stamped:  # each frame of it is there
            return True
        if placed.gap > _LONGEST_HOLE:
            return False
        if self._end is not None and self.clock + placed.gap <= self._end:
            return True
        if self._is_last and placed.gap > _LONG_HOLE:
            return False
        # The time so far has the silence in it, which is not counted as sound.
        most = _MOST_UNDECLARED + _UNDECLARED_RATIO * (self.seconds - self._undeclared) - self._undeclared
        if not goes_on or placed.gap > most:
            return False
        self._undeclared += placed.gap
        return True

    def _without_hole(self, placed: _Placed, goes_on: bool) -> _Placed:
        what = f"the time stamps jump by {_how_long(placed.gap)}, more than this recording can hold"
        self._reading.warn("clock", self.seconds, self.seconds, what)
        gap = min(placed.lost, _LONG_HOLE)
        if self._shift is not None and goes_on:
            self._shift += gap - placed.gap
        return placed._replace(gap=gap)

    def _tell(self, seconds: float, is_damaged: bool) -> None:
        kind, what = ("damaged", "damaged") if is_damaged else ("missing", "no sound was found for this time")
        self._reading.warn(kind, self.seconds, self.seconds + seconds, f"{what}, taken for silence")

    def _silence(self, like: Block, seconds: float) -> Iterator[Block]:
        left = round(seconds * like.sampling_rate)
        while left > 0:
            n = min(left, BLOCK_FRAMES)
            left -= n
            yield like._replace(samples=np.zeros((n, like.samples.shape[1]), np.float32))
        self.seconds += seconds


def _how_long(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} hours"
