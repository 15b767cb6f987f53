"""What is compiled for a check: a size's graphs with one block on each side, and every operation as a graph of its own.

An operation writes into a buffer that the caller filled with NaN, so that what it leaves out shows. Compiling needs no
GPU, and takes a process of its own: ``python -m gpu_tools.modules`` is that process.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from max.dtype import DType

from whisper_max.compile.artifact import read_artifact, write_artifact
from whisper_max.dims import ModelDimensions
from whisper_max.model.digest import FAST, module_digest

Linear = tuple[str, str, int, int, bool, bool, bool]
"""Prefix and name of the weight, inputs, outputs, whether a bias, a GELU, and a residual go with it."""


def linear_layers(dims: ModelDimensions) -> tuple[list[Linear], list[Linear]]:
    """The linear layers over whole windows, and those of a decoder's step."""
    d, t = dims.n_audio_state, dims.n_text_state

    def block(prefix: str, n: int) -> list[Linear]:
        return [
            (prefix, "attn.qkv", n, 3 * n, True, False, False),
            (prefix, "attn.out", n, n, True, False, True),
            (prefix, "mlp.0", n, 4 * n, True, True, False),
            (prefix, "mlp.2", 4 * n, n, True, False, True),
        ]

    windows = [
        ("encoder", "conv1", 3 * dims.n_mels, d, True, True, False),
        ("encoder", "conv2", 3 * d, d, True, True, False),
        *block("encoder.blocks.0", d),
        ("decoder.blocks.0", "cross_attn.key", d, t, False, False, False),
        ("decoder.blocks.0", "cross_attn.value", d, t, True, False, False),
    ]
    rows = [
        *block("decoder.blocks.0", t),
        ("decoder.blocks.0", "cross_attn.query", t, t, True, False, False),
        ("decoder.blocks.0", "cross_attn.out", t, t, True, False, True),
        ("decoder", "logits", t, dims.n_vocab, False, False, False),
    ]
    return windows, rows


def block_shapes(n: int) -> list[tuple[int, ...]]:
    """Of a decoder block's layers, in the order of ``gpu.fast.block_layers``."""
    norm: list[tuple[int, ...]] = [(n,), (n,)]
    attention = [*norm, (3 * n, n), (3 * n,), (n, n), (n,), *norm, (n, n), (n,), (n, n), (n,)]
    return [*attention, *norm, (4 * n, n), (4 * n,), (n, 4 * n), (n,)]


def op_name(layer: Linear) -> str:
    """How a check calls a linear layer: ``linear encoder mlp.0``."""
    return f"linear {layer[0].split('.')[0]} {layer[1]}"


def build(dims: ModelDimensions, dtype: DType, device_kind: str, fast: bool, check: bool = True) -> object:
    """The module of a check. ``check`` needs MAX's compiler, so it is for the child process only."""
    from max.graph import BufferType, DeviceRef, Graph, TensorType, TensorValue, Value, ops

    from whisper_max.model.gpu import fast as gpu
    from whisper_max.model.gpu.choose import add_graphs
    from whisper_max.model.gpu.decode_attention import decode_cross_attention, decode_self_attention
    from whisper_max.model.module import build_module, kernel_library, weights_for

    device = DeviceRef.GPU() if device_kind == "gpu" else DeviceRef.CPU()
    library = kernel_library(check)
    module, _ = build_module(dims, dtype, dtype, device, fast=fast, library=library)
    weights = weights_for(dtype, dtype, device, dims.n_audio_ctx, fast=fast)

    def tensor(*shape: str | int, of: DType = dtype) -> TensorType:
        return TensorType(of, list(shape), device=device)

    def add(name: str, inputs: Iterable[TensorType | BufferType], forward: Callable[[Sequence[Value]], object]) -> None:
        with Graph(name, input_types=inputs, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*(result if isinstance(result, tuple) else [] if result is None else [result]))

    def add_op(
        name: str,
        inputs: Sequence[TensorType | BufferType],
        forward: Callable[[Sequence[Value]], TensorValue],
        out: Sequence[str | int],
        of: DType = dtype,
    ) -> None:
        def stored(values: Sequence[Value]) -> None:
            ops.buffer_store(values[-1].buffer, forward(values[:-1]))

        add(name, [*inputs, BufferType(of, list(out), device=device)], stored)

    def add_linear(layer: Linear, leading: Sequence[str | int]) -> None:
        prefix, name, n_in, n_out, bias, gelu, residual = layer
        types = [tensor(*leading, n_in), *([tensor(*leading, n_out)] if residual else [])]

        def forward(values: Sequence[Value]) -> TensorValue:
            added = values[1].tensor if residual else None
            own = weights / prefix
            return own.ops.linear(values[0].tensor, own, name, n_in, n_out, bias=bias, gelu=gelu, residual=added)

        add_op(op_name(layer), types, forward, [*leading, n_out])

    whole, stepped = linear_layers(dims)
    for layer in whole:
        add_linear(layer, ["windows", dims.n_frames if layer[1] == "conv1" else dims.n_audio_ctx])
    for layer in stepped:
        add_linear(layer, ["rows"])

    d, t = dims.n_audio_state, dims.n_text_state
    text_weights = weights / "decoder.blocks.0"
    add_op(
        "layer_norm",
        [tensor("rows", t)],
        lambda x: weights.ops.layer_norm(x[0].tensor, text_weights, "mlp_ln", t),
        ["rows", t],
    )
    attend = gpu.FastOps().encoder_attention if fast else weights.ops.encoder_attention
    add_op(
        "encoder attention",
        [tensor("windows", dims.n_audio_ctx, 3 * d)],
        lambda x: attend(x[0].tensor, dims.n_audio_head, weights),
        ["windows", dims.n_audio_ctx, d],
    )
    head = (dims.n_text_head, t // dims.n_text_head)
    cache = BufferType(dtype, ["rows", head[0], "capacity", head[1]], device=device)
    audio = tensor("windows", head[0], dims.n_audio_ctx, head[1])
    lengths = tensor("rows", of=DType.int32)
    if fast:
        counts = tensor("rows", gpu.COUNTS + head[0], of=DType.int32)
        layers = [tensor(*shape) for shape in block_shapes(t)]

        def block(values: Sequence[Value]) -> TensorValue:
            x, counted, length, *layer = (values[i].tensor for i in (0, 1, 2, *range(7, len(values))))
            sides = (values[3].buffer, values[4].buffer), (values[5].tensor, values[6].tensor)
            return gpu.token_block(x, counted, length, *sides, layer)

        stream = tensor("rows", t, of=DType.float32)
        types = [stream, counts, lengths, cache, cache, audio, audio, *layers]
        add_op("decoder block", types, block, ["rows", t], of=DType.float32)
    else:
        add_op(
            "decode self-attention",
            [tensor("rows", 3 * t), lengths, cache, cache],
            lambda x: decode_self_attention(x[0].tensor, x[1].tensor, x[2].buffer, x[3].buffer),
            ["rows", t],
        )

        def cross(values: Sequence[Value]) -> TensorValue:
            q, keys, kept = (value.tensor for value in values)
            n_windows, n_hyps, _ = q.shape
            q = q.reshape((n_windows * n_hyps, t))
            attended = decode_cross_attention(q, keys, kept, (n_windows, n_hyps))
            return attended.reshape((n_windows, n_hyps, t))

        add_op("decode cross-attention", [tensor("windows", "hyps", t), audio, audio], cross, ["windows", "hyps", t])
    if device_kind == "cpu":
        add_graphs(add, dims, device)
    return module


def checks_artifact(dims: ModelDimensions, dtype: DType, code: str, folder: Path) -> Path:
    """Where a check's module is kept: named by all that it depends on."""
    kind, _, form = code.partition(":")
    graphs = module_digest(build(dims, dtype, kind, form.endswith(f":{FAST}"), check=False))
    digest = hashlib.sha256("\n".join([code, version("max-core"), graphs]).encode()).hexdigest()[:16]
    return folder / f"checks-{dims.n_audio_state}-{dtype.name}-{code.replace(':', '-')}-{digest}.wmx"


def find_checks(dims: ModelDimensions, dtype: DType, code: str, folder: Path) -> bytes:
    """A check's module: from the folder, else compiled and kept there."""
    path = checks_artifact(dims, dtype, code, folder)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        raw = path.with_suffix(".mef")
        command = [sys.executable, "-m", "gpu_tools.modules", json.dumps(asdict(dims)), dtype.name, code, str(raw)]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"compiling the checks of {code} failed: {done.stderr.strip().splitlines()[-1:]}")
        write_artifact(path, raw.read_bytes())
        raw.unlink()
    return read_artifact(path)


def main() -> None:
    """The child: compile one module for a device that need not be there."""
    dims, dtype, code, output = sys.argv[1:]
    kind, _, rest = code.partition(":")
    architecture, _, form = rest.partition(":")
    from max import driver

    if kind == "gpu":
        driver.set_virtual_device_api("cuda")
        driver.set_virtual_device_target_arch(architecture)
        driver.set_virtual_device_count(1)
    from max.engine import InferenceSession

    from whisper_max.model.module import KERNELS

    module = build(ModelDimensions(**json.loads(dims)), DType[dtype], kind, form == "fast")
    device = driver.Accelerator() if kind == "gpu" else driver.CPU()
    InferenceSession(devices=[device]).compile(module, custom_extensions=[KERNELS]).export_mef(output)


if __name__ == "__main__":
    main()
