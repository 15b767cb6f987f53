"""The graphs of both networks in one module, which MAX compiles in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from max.graph import Graph, KernelLibrary, Module, TensorType, TensorValue, Value

from whisper_max.model.module import kernel_library
from whisper_max.model.speakers import embedding, segmentation
from whisper_max.model.speakers.layers import Weights

Forward = Callable[[Sequence[Value]], TensorValue | Sequence[TensorValue]]


def build_module(library: KernelLibrary | None = None) -> tuple[Module, dict[str, tuple[int, ...]]]:
    """Build every graph: segment and embed, and each with the values of all its stages.

    library: the kernels; by default they are checked.

    Returns:
        the module, and the shape of each weight that it must be given when it is loaded, by name; all are float32.
    """
    module, weights = Module(), Weights()
    library = library or kernel_library()

    def add(name: str, input_types: Iterable[TensorType], forward: Forward) -> None:
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*([result] if isinstance(result, TensorValue) else result))

    of_segments, of_voices = weights / "segmentation", weights / "embedding"
    sound, voices = segmentation.input_types(), embedding.input_types()

    def heard(forward: Callable[..., TensorValue | list[TensorValue]]) -> Forward:
        return lambda inputs: forward(inputs[0].tensor, inputs[1].tensor, of_segments)

    add("segment", sound, heard(segmentation.segment))
    add("segment_stages", sound, heard(segmentation.segment_stages))
    add("embed", voices, lambda inputs: embedding.embed(inputs[0].tensor, of_voices))
    add("embed_stages", voices, lambda inputs: embedding.embed_stages(inputs[0].tensor, of_voices))
    return module, weights.declared
