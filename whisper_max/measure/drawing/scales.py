"""Where a value stands on an axis, and which values the axis names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """An axis. place: of a value, from 0 to 1 between its ends. ticks: the values that it names."""

    place: Callable[[float], float]
    ticks: Sequence[float]


def linear(values: Iterable[float]) -> Scale:
    """From 0 to a round number that no value is above; values that are not finite don't count."""
    top = max((value for value in values if math.isfinite(value)), default=0.0)
    step = _round_step(top / _MOST_TICKS) if top > 0 else 1.0
    n_steps = max(math.ceil(top / step - 1e-9), 1)
    end = n_steps * step
    return Scale(lambda value: _within(value / end), [i * step for i in range(n_steps + 1)])


def logarithmic(values: Iterable[float]) -> Scale:
    """Over the powers of ten around all values above 0; at its lower end stands what is 0."""
    positive = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    high = max(high, low + 1)
    every = max(1, math.ceil((high - low) / _MOST_TICKS))
    ticks = [10.0**power for power in range(low, high + 1, every)]

    def place(value: float) -> float:
        return _within((math.log10(value) - low) / (high - low)) if value > 0 else 0.0 if value <= 0 else 1.0

    return Scale(place, ticks)


def signed(values: Iterable[float]) -> Scale:
    """Both sides of 0, near it in proportion and further away by powers of ten (inverse hyperbolic sine)."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = (math.asinh(bound) for bound in (min(*finite, -1.0), max(*finite, 1.0)))
    powers = [10.0**power for power in range(math.ceil(math.log10(max(map(abs, finite), default=1.0) + 1)) + 1)]
    ticks = [
        tick for tick in (*(-power for power in reversed(powers)), 0.0, *powers) if low <= math.asinh(tick) <= high
    ]
    return Scale(lambda value: _within((math.asinh(value) - low) / (high - low)), ticks)


def short(value: float) -> str:
    """A number in few characters: ``0.05``, ``120``, ``1e-05``."""
    return f"{value:.0e}" if value and not 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _within(share: float) -> float:
    """From 0 to 1; what is not a number stands at the far end, where it is seen."""
    return 1.0 if math.isnan(share) else min(max(share, 0.0), 1.0)
