"""Loading compiled graphs.

``max.engine`` imports ``max.graph``, which builds graphs and takes a tenth of a second and 30 MB. On a CPU what is
compiled runs without: by ``max._core.engine``, which ``max.engine`` wraps. That is no public interface, so where it is
not as in MAX 26.7 the public one is taken; both give the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from max.driver import CPU, Buffer, Device

from whisper_max.engine.runtime import HostGraph

_PRIVATE = ("_wrap_compiled", "_load_all")


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
