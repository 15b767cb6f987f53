"""All graphs of a model in one module, which MAX compiles in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue, Value

from whisper_max.dims import ModelDimensions
from whisper_max.graph import decoder, encoder, kv_cache
from whisper_max.graph.cross_kv import cross_kv, cross_kv_input_types
from whisper_max.graph.dtypes import kv_dtype
from whisper_max.graph.weights import Declared, Weights

KERNELS = Path(__file__).parent / "kernels"


def build_module(dims: ModelDimensions, dtype: DType, storage: DType, device: DeviceRef) -> tuple[Module, Declared]:
    """Build every graph: encode, encode_stages, cross_kv, prefill, step, reorder and align.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers, see ``Weights``; the caches' follows from it.
        device: where the graphs will run.

    Returns:
        the module, to be compiled with ``custom_extensions=[KERNELS]``, and the shape and dtype of each weight that it
        must be given when it is loaded, by name.
    """
    module = Module()
    weights = Weights(dtype, storage, device)
    library = KernelLibrary()
    library.load_paths([KERNELS])

    def add(
        name: str,
        input_types: Iterable[TensorType | BufferType],
        forward: Callable[[Sequence[Value]], TensorValue | Sequence[TensorValue] | None],
    ) -> None:
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*([] if result is None else [result] if isinstance(result, TensorValue) else result))

    kv = kv_dtype(dtype, storage)
    audio, text = weights / "encoder", weights / "decoder"
    mel_types = encoder.input_types(dims, device)
    add("encode", mel_types, lambda inputs: encoder.encode(inputs[0].tensor, audio, dims))
    add("encode_stages", mel_types, lambda inputs: encoder.encode_stages(inputs[0].tensor, audio, dims))
    add("cross_kv", cross_kv_input_types(dims, dtype, kv, device), lambda inputs: cross_kv(inputs, text, dims))
    add("prefill", decoder.prefill_input_types(dims, kv, device), lambda inputs: decoder.prefill(inputs, text, dims))
    add("step", decoder.step_input_types(dims, kv, device), lambda inputs: decoder.step(inputs, text, dims))
    add("reorder", kv_cache.reorder_input_types(dims, kv, device), kv_cache.reorder)
    add("align", decoder.align_input_types(dims, kv, device), lambda inputs: decoder.align(inputs, text, dims))
    return module, weights.declared
