"""How a graph names its weights: placeholders that are bound when the compiled graph is loaded.

Keeping weights outside the graph makes a compiled artifact depend on dimensions, dtype and device alone, so one
artifact serves every checkpoint of a size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, ops


@dataclass(frozen=True)
class Weights:
    """A prefix into the model's weights, on one device and in one dtype.

    ``weights / "blocks" / 3`` narrows the prefix; calling it declares one weight. ``shapes`` collects every weight
    that was declared, by full name, shared by all prefixes of one graph module.
    """

    dtype: DType
    device: DeviceRef
    prefix: str = ""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __truediv__(self, part: str | int) -> Weights:
        return Weights(self.dtype, self.device, f"{self.prefix}{part}.", self.shapes)

    def __call__(self, name: str, *shape: int) -> TensorValue:
        """Declare the weight ``prefix + name`` of the given shape and return it as a graph value."""
        full_name = self.prefix + name
        self.shapes[full_name] = shape
        return ops.constant_external(full_name, TensorType(self.dtype, list[int](shape), device=self.device))


