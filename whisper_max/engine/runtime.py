"""Compiled graphs, loaded and run.

``max.engine`` imports ``max.graph``, which builds graphs and takes a tenth of a second and 30 MB. On a CPU what is
compiled runs without: by ``max._core.engine``, which ``max.engine`` wraps. That is no public interface, so where it is
not as in MAX 26.7 the public one is taken; both give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from max.driver import CPU, Buffer, Device
from numpy.typing import NDArray

from whisper_max.hardware.forks import check_process

if TYPE_CHECKING:
    from max._core import engine

_PRIVATE = ("_wrap_compiled", "_load_all")


class Graph(Protocol):
    """One compiled graph."""

    def execute(self, *inputs: Buffer) -> Sequence[Buffer]:
        """Run it."""
        ...


class HostGraph:
    """A compiled graph on a CPU. model: of ``max._core.engine``."""

    def __init__(self, model: engine.Model) -> None:
        self._run = model._execute_device_tensors

    def execute(self, *inputs: Buffer) -> Sequence[Buffer]:
        """Run it."""
        outputs: Sequence[Buffer] = self._run(list(inputs))
        return outputs


def load_graphs(module: bytes, device: Device, weights: Mapping[str, Buffer]) -> Mapping[str, Any]:
    """The graphs of a compiled module by name, their weights bound.

    Args:
        module: in MAX's format.
        device: where they run.
        weights: by the graphs' names; they must stay as long as the graphs do.

    Raises:
        RuntimeError, ValueError: of MAX; the module doesn't fit, or a weight is missing or of another shape.
    """
    if device.is_host:
        from max._core import engine

        session = engine.InferenceSession([device], [], 0)
        if all(hasattr(session, name) for name in _PRIVATE) and hasattr(engine.Model, "_execute_device_tensors"):
            compiled = session._wrap_compiled(engine.read(module))
            return {model.name: HostGraph(model) for model in session._load_all(compiled, weights)}
    from max.engine import InferenceSession, read

    devices = [device] if device.is_host else [CPU(), device]
    graphs: Mapping[str, Any] = InferenceSession(devices=devices).init_all(
        read(BytesIO(module)), weights_registry=weights
    )
    return graphs


class HostGraphs:
    """The graphs of a compiled module on a CPU, from arrays to arrays, for networks beside the model.

    Args:
        module: in MAX's format.
        weights: by the graphs' names.

    Raises:
        RuntimeError, ValueError: of MAX; the module doesn't fit, or a weight is missing or of another shape.
    """

    def __init__(self, module: bytes, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = {name: Buffer.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
        self._graphs = load_graphs(module, CPU(), self._weights)

    def run(self, graph: str, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The outputs of a graph, by its name, for its one input."""
        check_process()
        outputs = self._graphs[graph].execute(Buffer.from_numpy(np.ascontiguousarray(values)))
        return [output.to_numpy() for output in outputs]
