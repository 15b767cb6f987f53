"""Networks beside the model, on a CPU: from arrays to arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from max.driver import CPU, Buffer
from numpy.typing import NDArray

from whisper_max.engine.loading import load_graphs
from whisper_max.hardware.forks import check_process


class HostGraphs:
    """The graphs of a compiled module on a CPU.

    Args:
        module: in MAX's format.
        weights: by the graphs' names.

    Raises:
        RuntimeError, ValueError: of MAX; the module doesn't fit, or a weight is missing or of another shape.
    """

    def __init__(self, module: bytes, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = {name: Buffer.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
        self._graphs = load_graphs(module, CPU(), self._weights)

    def run(self, graph: str, *values: NDArray[np.float32] | NDArray[np.int32]) -> list[NDArray[np.float32]]:
        """The outputs of a graph, by its name, for its inputs."""
        check_process()
        outputs = self._graphs[graph].execute(*(Buffer.from_numpy(np.ascontiguousarray(each)) for each in values))
        return [output.to_numpy() for output in outputs]
