"""Each operation, stage and choice of a size on a device, against float64 NumPy on fresh random inputs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from max.driver import CPU, Buffer, Device
from max.dtype import DType
from max.engine import InferenceSession, Model, read
from numpy.typing import NDArray

from gpu_tools.choices import N_ROWS, choose_tokens
from gpu_tools.modules import Linear, linear_layers, op_name
from gpu_tools.random_model import random_tensors, rounded
from gpu_tools.result import TOLERANCE, Result
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.dims import ModelDimensions
from whisper_max.engine.runtime import Placement, causal_mask
from whisper_max.engine.weights import prepare_weights, to_device, weight_rules
from whisper_max.model.gpu.fast import COUNTS
from whisper_max.model.stages import stage_names

sys.path.append(str(Path(__file__).parents[3]))
from tests.support.numpy_block import attend, random_layers, token_block
from tests.support.numpy_whisper import NumpyWhisper

BLOCK = "decoder block"  # only the fast form has it as an operation
STEP_ROWS = (1, 2, 7, 8, 9, 16, 33, 64, 128, 320)
WINDOWS = (1, 2, 8)
SAMPLED = 48  # rows of a large result that are compared; of all the others it is asked that they be finite
_erf = np.vectorize(math.erf)
Array = NDArray[np.float32]


class Checker:
    """A size's module on a device.

    Args:
        module: compiled, in MAX's format.
        dims: with one block on each side.
        spoil: the name of an operation whose results get one NaN, to see the check fail.
    """

    def __init__(
        self, module: bytes, dims: ModelDimensions, dtype: DType, device: Device, seed: int, spoil: str | None = None
    ) -> None:
        self.dims, self.dtype, self.spoil = dims, dtype, spoil
        self.rng = np.random.default_rng(seed)
        self.place = Placement(device, dtype)
        self.tensors = random_tensors(dims, dtype, self.rng)
        self.layers = {rule.name: rule.make(self.tensors) for rule in weight_rules(dims)}
        self.layers[LOGITS] = self.layers[TOKEN_EMBEDDING]
        weights = prepare_weights(self.tensors, dims, dtype, dtype, device)
        devices = [CPU()] if device.is_host else [CPU(), device]
        session = InferenceSession(devices=devices)
        self.graphs: dict[str, Model] = session.init_all(read(BytesIO(module)), weights_registry=weights)
        self.fast = BLOCK in self.graphs
        self.tolerance = TOLERANCE[dtype.name]

    def run(self) -> Iterator[Result]:
        """All comparisons, the operations first."""
        whole, stepped = linear_layers(self.dims)
        for layer in whole:
            length = self.dims.n_frames if layer[1] == "conv1" else self.dims.n_audio_ctx
            for n_windows in WINDOWS:
                yield self._linear(layer, (n_windows, length))
        for layer in stepped:
            for n_rows in STEP_ROWS:
                yield self._linear(layer, (n_rows,))
        for n_rows in STEP_ROWS:
            yield self._layer_norm(n_rows)
            yield self._block(n_rows) if self.fast else self._decode_self(n_rows)
        for n_windows in WINDOWS:
            yield self._encoder_attention(n_windows)
        for n_windows, n_hyps in ((1, 1), (2, 1), (1, 5), (8, 1), (3, 5)):
            yield self._block(n_windows * n_hyps, n_hyps) if self.fast else self._decode_cross(n_windows, n_hyps)
        yield from self._stages()
        yield from self._decoder()
        yield self._choices()

    # operations

    def _linear(self, layer: Linear, leading: tuple[int, ...]) -> Result:
        prefix, name, n_in, n_out, has_bias, gelu, residual = layer
        x, added = self._random(*leading, n_in), self._random(*leading, n_out)
        out = self._poisoned(*leading, n_out)
        inputs = [x, added] if residual else [x]
        self.graphs[op_name(layer)].execute(*map(self._put, inputs), out)
        rows = self._some(math.prod(leading))
        expected = x.reshape(-1, n_in)[rows].astype(np.float64) @ self.layers[f"{prefix}.{name}.weight"].T
        if has_bias:
            expected += self.layers[f"{prefix}.{name}.bias"]
        if gelu:
            expected = 0.5 * expected * (1 + _erf(expected / math.sqrt(2)))
        if residual:
            expected += added.reshape(-1, n_out)[rows]
        return self._compare(op_name(layer), leading, self._get(out).reshape(-1, n_out), rows, expected)

    def _layer_norm(self, n_rows: int) -> Result:
        n = self.dims.n_text_state
        x, out = 3 * self._random(n_rows, n) + 1, self._poisoned(n_rows, n)
        x = rounded(x, self.dtype)
        self.graphs["layer_norm"].execute(self._put(x), out)
        wide = x.astype(np.float64)
        centred = wide - wide.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        norm = "decoder.blocks.0.mlp_ln"
        expected = normed * self.tensors[f"{norm}.weight"] + self.tensors[f"{norm}.bias"]
        return self._compare("layer_norm", (n_rows,), self._get(out), np.arange(n_rows), expected)

    def _encoder_attention(self, n_windows: int) -> Result:
        dims, n_head = self.dims, self.dims.n_audio_head
        d, length = dims.n_audio_state, dims.n_audio_ctx
        qkv, out = self._random(n_windows, length, 3 * d), self._poisoned(n_windows, length, d)
        self.graphs["encoder attention"].execute(self._put(qkv), out)
        rows = self._some(n_windows * length)
        q, k, v = qkv.astype(np.float64).reshape(n_windows, length, 3, n_head, -1).transpose(2, 0, 3, 1, 4)
        expected = [attend(q[w, :, i], k[w], v[w]) for w, i in zip(*divmod(rows, length), strict=True)]
        return self._compare("encoder attention", (n_windows,), self._get(out).reshape(-1, d), rows, np.stack(expected))

    def _decode_self(self, n_rows: int) -> Result:
        dims = self.dims
        n_head, t, capacity = dims.n_text_head, dims.n_text_state, dims.n_text_ctx
        lengths = self.rng.integers(0, capacity, n_rows).astype(np.int32)
        lengths[0] = capacity - 1
        qkv = self._random(n_rows, 3 * t)
        cache = [self._random(n_rows, n_head, capacity, t // n_head) for _ in range(2)]
        buffers = [self._put(side) for side in cache]
        out = self._poisoned(n_rows, t)
        self.graphs["decode self-attention"].execute(self._put(qkv), self.place.put(lengths), *buffers, out)
        rows = self._some(n_rows)
        q, k, v = qkv.astype(np.float64).reshape(n_rows, 3, n_head, -1).transpose(1, 0, 2, 3)
        expected = []
        for row in rows:
            n = lengths[row]
            keys, values = (
                np.concatenate([side[row, :, :n], new[row][:, None]], axis=1)
                for side, new in zip(cache, (k, v), strict=True)
            )
            expected.append(attend(q[row], keys, values))
        result = self._compare("decode self-attention", (n_rows,), self._get(out), rows, np.stack(expected))
        for side, new, buffer in zip(cache, (k, v), buffers, strict=True):
            side[np.arange(n_rows), :, lengths] = new
            if not np.array_equal(self._get(buffer), side):
                return Result(result.name, f"{result.shape} cache", math.inf, 0)
        return result

    def _decode_cross(self, n_windows: int, n_hyps: int) -> Result:
        dims = self.dims
        n_head, t = dims.n_text_head, dims.n_text_state
        q = self._random(n_windows, n_hyps, t)
        keys, values = (self._random(n_windows, n_head, dims.n_audio_ctx, t // n_head) for _ in range(2))
        out = self._poisoned(n_windows, n_hyps, t)
        self.graphs["decode cross-attention"].execute(*map(self._put, (q, keys, values)), out)
        expected = np.stack(
            [
                attend(each.reshape(n_head, -1).astype(np.float64), keys[row // n_hyps], values[row // n_hyps])
                for row, each in enumerate(q.reshape(-1, t))
            ]
        )
        rows = np.arange(len(expected))
        found = self._get(out).reshape(-1, t)
        return self._compare("decode cross-attention", (n_windows, n_hyps), found, rows, expected)

    def _block(self, n_rows: int, n_hyps: int = 1) -> Result:
        """A whole decoder block; its result is compared less the residual stream that goes through it."""
        dims = self.dims
        n_head, t, capacity = dims.n_text_head, dims.n_text_state, dims.n_text_ctx
        lengths = self.rng.integers(0, capacity, n_rows).astype(np.int32)
        lengths[0] = capacity - 1
        x = self.rng.standard_normal((n_rows, t), dtype=np.float32)
        cache = self._random(n_rows, n_head, capacity, t // n_head), self._random(n_rows, n_head, capacity, t // n_head)
        shape = (n_rows // n_hyps, n_head, dims.n_audio_ctx, t // n_head)
        audio = self._random(*shape), self._random(*shape)
        layers = random_layers(self.rng, t, partial(rounded, dtype=self.dtype))
        out = self.place.put(np.full((n_rows, t), np.nan, np.float32))
        counts = self.place.put(np.zeros((n_rows, COUNTS + n_head), np.int32))
        buffers = [self._put(side) for side in cache]
        given = [self.place.put(x), counts, self.place.put(lengths), *buffers, *map(self._put, (*audio, *layers))]
        self.graphs[BLOCK].execute(*given, out)
        expected, new = token_block(x, lengths, cache, audio, layers)
        result = self._compare(BLOCK, (n_rows, n_hyps), self._get(out) - x, np.arange(n_rows), expected - x)
        if self._get(counts).any():
            return Result(BLOCK, f"{result.shape} counts", math.inf, 0)
        every = np.arange(n_rows)
        for side, written, buffer in zip(cache, new, buffers, strict=True):
            found = self._get(buffer)
            slots = self._compare(BLOCK, (n_rows, n_hyps), found[every, :, lengths], every, written)
            found[every, :, lengths] = side[every, :, lengths]
            if not slots.passed or not np.array_equal(found, side):
                return Result(BLOCK, f"{result.shape} cache", math.inf, 0)
        return result

    # stages

    def _stages(self) -> Iterator[Result]:
        dims = self.dims
        mel = self.rng.standard_normal((2, dims.n_mels, dims.n_frames), dtype=np.float32)
        found = self.graphs["encode_stages"].execute(self.place.put(mel))
        reference = NumpyWhisper(dims, self.tensors)
        expected = [reference.stages(rounded(window, self.dtype)) for window in mel]
        for name, values in zip(stage_names(dims), found, strict=True):
            theirs = np.stack([stages[name] for stages in expected]).reshape(-1, dims.n_audio_state)
            ours = self._get(values).reshape(-1, dims.n_audio_state)
            yield self._compare(f"stage {name}", (2,), ours, np.arange(len(ours)), theirs)

    def _decoder(self) -> Iterator[Result]:
        """Prompts of different lengths and steps after them: logits, and through them cross-KV and both caches."""
        dims, n_windows, n_hyps = self.dims, 3, 2
        n_head, t = dims.n_text_head, dims.n_text_state
        xa = self._random(n_windows, dims.n_audio_ctx, dims.n_audio_state)
        shape = (n_head, dims.n_audio_ctx, t // n_head)
        cross = [self._poisoned(n_windows, *shape) for _ in range(2)]
        self.graphs["cross_kv"].execute(self._put(xa), *cross)
        rows = n_windows * n_hyps
        cache = [self.place.zeros((rows, n_head, dims.n_text_ctx, t // n_head)) for _ in range(2)]
        prompts = [self.rng.integers(0, dims.n_vocab, n).tolist() for n in (4, 1, min(40, dims.n_text_ctx - 4))]
        width = max(map(len, prompts))
        tokens = np.array([[*prompt, *[0] * (width - len(prompt))] for prompt in prompts], np.int32)
        wanted = np.array([window * width + len(prompt) - 1 for window, prompt in enumerate(prompts)], np.int32)
        which = np.repeat(np.arange(n_windows, dtype=np.int32), n_hyps)
        inputs = [tokens, np.arange(width, dtype=np.int32), causal_mask(width), wanted, which]
        (logits,) = self.graphs["prefill"].execute(*map(self.place.put, inputs), *cache, *cross)
        reference = NumpyWhisper(dims, self.tensors)
        wide = xa.astype(np.float64)
        expected = np.stack([reference.decode(prompt, wide[w])[0][-1] for w, prompt in enumerate(prompts)])
        yield self._compare("stage prefill", (n_windows,), self._get(logits), np.arange(n_windows), expected)
        histories = [list(prompts[w]) for w in which]
        for step in range(3):
            new = self.rng.integers(0, dims.n_vocab, (n_windows, n_hyps)).astype(np.int32)
            lengths = np.array([len(history) for history in histories], np.int32)
            (logits,) = self.graphs["step"].execute(self.place.put(new), self.place.put(lengths), *cache, *cross)
            for history, token in zip(histories, new.reshape(-1), strict=True):
                history.append(int(token))
            expected = np.stack(
                [reference.decode(history, wide[w])[0][-1] for w, history in zip(which, histories, strict=True)]
            )
            yield self._compare(f"stage step {step}", (rows,), self._get(logits), np.arange(rows), expected)

    # tokens and sound

    def _choices(self) -> Result:
        """The error is how many transcripts differ from the host's."""
        transcript, expected = choose_tokens(self.graphs["choose"], self.dims, self.place, self.rng)
        transcript = self._spoilt("choose", transcript)
        wrong = np.count_nonzero((transcript != expected).any(axis=1))
        return Result("choose", f"{N_ROWS}x{self.dims.n_vocab}", float(wrong), 0.0)

    # what all share

    def _compare(
        self, name: str, leading: Sequence[int], found: Array, rows: NDArray[np.intp], expected: NDArray[np.float64]
    ) -> Result:
        found = self._spoilt(name, found)
        shape = "x".join(map(str, leading))
        if not np.isfinite(found).all():
            return Result(name, shape, math.nan, self.tolerance)
        error = np.linalg.norm(found[rows] - expected) / np.linalg.norm(expected)
        return Result(name, shape, float(error), self.tolerance)

    def _spoilt(self, name: str, values: Array) -> Array:
        if self.spoil == name:
            values = values.copy()
            values.reshape(-1)[-1] = np.nan
        return values

    def _some(self, n_rows: int) -> NDArray[np.intp]:
        """Rows to compare: all of a few, else a fresh choice with both ends."""
        if n_rows <= SAMPLED:
            return np.arange(n_rows)
        inner = self.rng.choice(np.arange(1, n_rows - 1), SAMPLED - 2, replace=False)
        return np.sort([0, n_rows - 1, *inner])

    def _random(self, *shape: int) -> Array:
        values: Array = rounded(self.rng.standard_normal(shape, dtype=np.float32), self.dtype)
        return values

    def _poisoned(self, *shape: int) -> Buffer:
        """A buffer full of NaN on the device."""
        return self._put(np.full(shape, np.nan, np.float32))

    def _put(self, values: Array) -> Buffer:
        return to_device(values, self.dtype, self.place.device)

    def _get(self, buffer: Buffer) -> Array:
        host = buffer if self.place.device.is_host else buffer.to(CPU())
        if host.dtype == DType.bfloat16:
            bits = host.view(DType.uint16, host.shape).to_numpy().astype(np.uint32) << 16
            widened: Array = bits.view(np.float32)
            return widened
        values: Array = host.to_numpy().astype(np.float32)
        return values
