"""All graphs of a model in one module, which MAX compiles in one go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue, Value

from whisper_max.dims import ModelDimensions
from whisper_max.graph import choose, decoder, encoder, gpu, kv_cache, log_mel
from whisper_max.graph.cross_kv import cross_kv, cross_kv_input_types
from whisper_max.graph.dtypes import kv_dtype
from whisper_max.graph.layers import int8_self_attention, self_attention
from whisper_max.graph.weights import Declared, Weights

Forward = Callable[[Sequence[Value]], TensorValue | Sequence[TensorValue] | None]
Add = Callable[[str, Iterable[TensorType | BufferType], Forward], None]
KERNELS = Path(__file__).parent / "kernels"
GPU_GRAPHS = ("choose", "sample", "no_speech", "log_mel", "scale_mel")


def build_module(
    dims: ModelDimensions,
    dtype: DType,
    storage: DType,
    device: DeviceRef,
    *,
    fast: bool = False,
    only: Collection[str] = (),
) -> tuple[Module, Declared]:
    """Build every graph: encode, encode_stages, cross_kv, prefill, step, reorder and align; for a GPU ``GPU_GRAPHS``.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers, see ``Weights``; the caches' follows from it.
        device: where the graphs will run.
        fast: on a GPU, the forms of ``gpu`` in place of stock operations.
        only: names of the graphs to build; all where empty.

    Returns:
        the module, to be compiled with ``custom_extensions=[KERNELS]``, and the shape and dtype of each weight that it
        must be given when it is loaded, by name.
    """
    module = Module()
    weights = Weights(dtype, storage, device)
    library = KernelLibrary()
    library.load_paths([KERNELS])

    def add(name: str, input_types: Iterable[TensorType | BufferType], forward: Forward) -> None:
        if only and name not in only:
            return
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*([] if result is None else [result] if isinstance(result, TensorValue) else result))

    kv = kv_dtype(dtype, storage)
    audio, text = weights / "encoder", weights / "decoder"
    mel_types = encoder.input_types(dims, device)
    attend = gpu.encoder_attention if fast else encoder_attention(weights)
    step = gpu.step if fast else decoder.step
    add("encode", mel_types, lambda inputs: encoder.encode(inputs[0].tensor, audio, dims, attend))
    add("encode_stages", mel_types, lambda inputs: encoder.encode_stages(inputs[0].tensor, audio, dims, attend))
    add("cross_kv", cross_kv_input_types(dims, dtype, kv, device), lambda inputs: cross_kv(inputs, text, dims))
    add("prefill", decoder.prefill_input_types(dims, kv, device), lambda inputs: decoder.prefill(inputs, text, dims))
    add("step", decoder.step_input_types(dims, kv, device), lambda inputs: step(inputs, text, dims))
    add("reorder", kv_cache.reorder_input_types(dims, kv, device), kv_cache.reorder)
    add("align", decoder.align_input_types(dims, kv, device), lambda inputs: decoder.align(inputs, text, dims))
    if not device.is_cpu():
        add_gpu_graphs(add, dims, device)
    return module, weights.declared


def encoder_attention(weights: Weights) -> encoder.SelfAttention:
    """The encoder's attention for the weights' device: in integers where the matrices of a CPU are."""
    if not weights.device.is_cpu() or weights.storage != DType.int8:
        return self_attention
    return lambda qkv, n_head: int8_self_attention(qkv, n_head, weights.vnni())


def add_gpu_graphs(add: Add, dims: ModelDimensions, device: DeviceRef) -> None:
    """Add the graphs of ``GPU_GRAPHS``; they have no weights, and run on any device."""
    add("choose", choose.choose_input_types(dims, device, sampled=False), choose.choose)
    add("sample", choose.choose_input_types(dims, device, sampled=True), choose.sample)
    add("no_speech", choose.no_speech_input_types(dims, device), choose.no_speech)
    add("log_mel", log_mel.log_mel_input_types(dims, device), lambda inputs: log_mel.log_mel(inputs, dims))
    add("scale_mel", log_mel.scale_mel_input_types(dims, device), lambda inputs: log_mel.scale_mel(inputs, dims))
