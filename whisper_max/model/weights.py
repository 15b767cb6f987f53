"""How a graph names its weights: placeholders that are bound when the compiled graph is loaded.

Keeping weights outside the graph makes a compiled artifact depend on dimensions, dtypes and device alone, so one
artifact serves every checkpoint of a size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, ops

from whisper_max.model.panels import GROUP, PANEL, n_groups, n_panels

if TYPE_CHECKING:
    from whisper_max.model.ops import Ops

Declared = dict[str, tuple[tuple[int, ...], DType]]
"""Full name -> shape and dtype of a weight."""


@dataclass(frozen=True)
class Weights:
    """A prefix into the model's weights.

    ``weights / "blocks" / 3`` narrows the prefix; calling it declares one weight. ``declared`` collects every weight,
    by full name, shared by all prefixes of one graph module.

    dtype: of activations and of weights that are small. storage: of the matrices of linear layers. On a GPU it is
    ``dtype``; on a CPU float32, float16 (widened as it is read, exact) or int8 (with a scale for each output; layers
    quantise their inputs too then, and compute in integers). ops: the layers of the device.
    """

    dtype: DType
    storage: DType
    device: DeviceRef
    ops: Ops
    prefix: str = ""
    declared: Declared = field(default_factory=dict)

    def __truediv__(self, part: str | int) -> Weights:
        return replace(self, prefix=f"{self.prefix}{part}.")

    def __call__(self, name: str, *shape: int) -> TensorValue:
        """Declare the weight ``prefix + name`` of the given shape and return it as a graph value."""
        return self._declare(name, shape, self.dtype)

    def kernel(self, name: str) -> str:
        """The custom operation ``name`` for matrices in the storage dtype."""
        return f"whisper_max.int8_{name}" if self.storage == DType.int8 else f"whisper_max.{name}"

    def panels(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a linear layer's matrix in panels: (n_panels, n_in, PANEL) in the storage dtype.

        In int8 it is (n_panels, n_groups, PANEL, GROUP), and its scales (n_panels * PANEL,) float32 come with it.
        """
        if self.storage != DType.int8:
            return [self._declare(f"{name}.weight", (n_panels(n_out), n_in, PANEL), self.storage)]
        matrix = self._declare(f"{name}.weight", (n_panels(n_out), n_groups(n_in), PANEL, GROUP), DType.int8)
        return [matrix, self._declare(f"{name}.scale", (n_panels(n_out) * PANEL,), DType.float32)]

    def operands(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare what the linear kernels take: a layer, and in int8 what the processor can do."""
        layer = self.layer(name, n_in, n_out)
        return [*layer, self.vnni()] if self.storage == DType.int8 else layer

    def layer(self, name: str, n_in: int, n_out: int) -> list[TensorValue]:
        """Declare a linear layer for the kernels: the matrix and the bias, zeros where there is none.

        In int8 these are followed by scale and offset, both (n_panels * PANEL,).
        """
        matrix, *scale = self.panels(name, n_in, n_out)
        bias = self._declare(f"{name}.bias", (n_panels(n_out) * PANEL,), self.dtype)
        if self.storage != DType.int8:
            return [matrix, bias]
        offset = self._declare(f"{name}.offset", (n_panels(n_out) * PANEL,), DType.int32)
        return [matrix, bias, *scale, offset]

    def vnni(self) -> TensorValue:
        """Declare what the int8 kernels are told of the processor: (1,) int32, whatever the prefix."""
        return replace(self, prefix="")._declare("vnni", (1,), DType.int32)

    def _declare(self, name: str, shape: tuple[int, ...], dtype: DType) -> TensorValue:
        full_name = self.prefix + name
        self.declared[full_name] = (shape, dtype)
        return ops.constant_external(full_name, TensorType(dtype, list[int](shape), device=self.device))
