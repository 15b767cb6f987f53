"""All graphs of a model in one module, which MAX compiles in one go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue, Value

from whisper_max.dims import ModelDimensions
from whisper_max.model import align, decoder, encoder, reorder
from whisper_max.model.gpu import choose
from whisper_max.model.gpu import fast as fast_forms
from whisper_max.model.gpu.stock import StockOps
from whisper_max.model.int8 import Int8Ops, Int8Weights
from whisper_max.model.layers import Declared, Ops, Weights
from whisper_max.model.panels import cross_dtype, kv_dtype
from whisper_max.model.source import KERNELS as KERNELS

InputTypes = Callable[[], Iterable[TensorType | BufferType]]
Forward = Callable[[Sequence[Value]], TensorValue | Sequence[TensorValue] | None]


def build_module(
    dims: ModelDimensions,
    dtype: DType,
    storage: DType,
    device: DeviceRef,
    *,
    fast: bool = False,
    only: Collection[str] = (),
    library: KernelLibrary | None = None,
) -> tuple[Module, Declared]:
    """Build every graph: encode, encode_stages, cross_kv, prefill, step, reorder, align; on a GPU those of ``choose``.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers, see ``Weights``; the caches' follows from it.
        device: where the graphs will run.
        fast: on a GPU, the forms of ``gpu.fast`` in place of stock operations.
        only: names of the graphs to build; all where empty.
        library: the kernels, from ``kernel_library``; by default they are checked.

    Returns:
        the module, to be compiled with ``custom_extensions=[KERNELS]``, and the shape and dtype of each weight that it
        must be given when it is loaded, by name.
    """
    module = Module()
    weights = weights_for(dtype, storage, device, dims.n_audio_ctx, fast=fast)
    library = library or kernel_library()

    def add(name: str, input_types: InputTypes, forward: Forward) -> None:
        if only and name not in only:
            return
        with Graph(name, input_types=input_types(), module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*([] if result is None else [result] if isinstance(result, TensorValue) else result))

    audio, text = weights / "encoder", weights / "decoder"
    mel = partial(encoder.input_types, dims, device)
    add("encode", mel, lambda inputs: encoder.encode(inputs[0].tensor, audio, dims))
    add("encode_stages", mel, lambda inputs: encoder.encode_stages(inputs[0].tensor, audio, dims))
    kv, cross = kv_dtype(dtype, storage), cross_dtype(dtype, storage)
    of = dims, kv, cross, device
    xa = partial(decoder.cross_kv_input_types, dims, dtype, cross, device)
    add("cross_kv", xa, lambda inputs: decoder.cross_kv(inputs, text, dims))
    add("prefill", partial(decoder.prefill_input_types, *of), lambda inputs: decoder.prefill(inputs, text, dims))
    own = isinstance(weights.ops, fast_forms.FastOps)
    step = fast_forms.step if own else decoder.step
    add("step", partial(decoder.step_input_types, *of), lambda inputs: step(inputs, text, dims))
    add("reorder", partial(reorder.reorder_input_types, dims, kv, device), partial(reorder.reorder, layers=weights.ops))
    add("align", partial(align.align_input_types, dims, cross, device), lambda inputs: align.align(inputs, text, dims))
    if not device.is_cpu():
        choosers = fast_forms.CHOOSERS if own else choose.STOCK
        choose.add_graphs(lambda name, types, forward: add(name, lambda: types, forward), dims, device, choosers)
    return module, weights.declared


def kernel_library(check: bool = True) -> KernelLibrary:
    """The custom operations that graphs may call.

    check: compile them, which takes seconds and a compiler, and check every call against them. Without, the graphs are
    the same, and all that can be done is to look at them.
    """
    library = KernelLibrary()
    if check:
        library.load_paths([KERNELS])
    else:
        library.verify_custom_op = lambda operation: None
    return library


def weights_for(dtype: DType, storage: DType, device: DeviceRef, n_audio: int, *, fast: bool = False) -> Weights:
    """What the graphs of a device declare their weights by, with its layers; arguments as ``build_module``.

    n_audio: positions of the audio, ``n_audio_ctx``.
    """
    if not device.is_cpu():
        return Weights(dtype, storage, device, fast_forms.FastOps() if fast else StockOps())
    if storage == DType.int8:
        return Int8Weights(dtype, storage, device, Int8Ops(n_audio))
    return Weights(dtype, storage, device, Ops())
