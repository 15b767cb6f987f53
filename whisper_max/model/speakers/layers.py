"""Layers that both networks are made of. Values are (B, groups, T, channels): groups are 1, or frequencies.

A border is of zeros around groups and time, so that a convolution that reads past the edge needs no copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from max.dtype import DType
from max.graph import DeviceRef, Dim, TensorType, TensorValue, ops

from whisper_max.model.panels import PANEL, n_panels

DEVICE = DeviceRef.CPU()
NOTHING, RELU, LEAKY_RELU = 1.0, 0.0, 0.01
"""Activations, as the slope below 0; the leaky one's is PyTorch's default."""


@dataclass(frozen=True)
class Weights:
    """A prefix into the weights of the networks, which are given when the compiled graphs are loaded.

    ``weights / "lstm" / 0`` narrows the prefix; calling it declares one weight. declared: shapes by full name.
    """

    prefix: str = ""
    declared: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __truediv__(self, part: str | int) -> Weights:
        return replace(self, prefix=f"{self.prefix}{part}.")

    def __call__(self, name: str, *shape: int) -> TensorValue:
        """The float32 weight ``prefix + name``."""
        full_name = self.prefix + name
        self.declared[full_name] = shape
        return ops.constant_external(full_name, TensorType(DType.float32, list[int](shape), device=DEVICE))


@dataclass(frozen=True)
class Taps:
    """What a convolution reads, in groups and in time: the size of its kernel, the step, and where reading begins."""

    kernel: tuple[int, int] = (1, 1)
    step: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)


def convolution(
    x: TensorValue,
    weights: Weights,
    n_out: int,
    taps: Taps = Taps(),
    *,
    slope: float = NOTHING,
    border: tuple[int, int] = (0, 0),
    n_groups: int = 1,
    length: Dim | int | None = None,
    residual: TensorValue | None = None,
) -> TensorValue:
    """A convolution, its activation, and a border around the result.

    Args:
        x: (B, groups, T, channels), with the border that the taps need.
        weights: ``weight`` (n_panels, kernel[0] * kernel[1] * channels, PANEL), and ``bias`` (n_panels * PANEL,).
        n_out: channels of the result.
        taps: what is read.
        slope: of the activation.
        border: of the result, in groups and in time.
        n_groups, length: of the result, without its border; None: T.
        residual: added before the activation; of the result's shape, border included.

    Returns:
        (B, n_groups + 2 * border[0], length + 2 * border[1], n_out)
    """
    geometry = [*border, *taps.step, *taps.kernel, *taps.first]
    depth = prod(taps.kernel) * int(x.shape[3])
    values = [
        x,
        *([] if residual is None else [residual]),
        weights("weight", n_panels(n_out), depth, PANEL),
        weights("bias", n_panels(n_out) * PANEL),
        ops.constant(np.array(geometry, np.int32), DType.int32, DEVICE),
        ops.constant(np.array([slope], np.float32), DType.float32, DEVICE),
    ]
    rows = x.shape[2] if length is None else Dim(length)
    shape: Sequence[Dim | int] = [x.shape[0], n_groups + 2 * border[0], rows + 2 * border[1], n_out]
    name = "whisper_max.convolution" if residual is None else "whisper_max.convolution_residual"
    (y,) = ops.custom(name, DEVICE, values, out_types=[TensorType(DType.float32, shape, device=DEVICE)])
    return y.tensor
