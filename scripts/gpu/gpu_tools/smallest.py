"""The smallest graphs of a whole module against NumPy: copies, one softmax, one product, one search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from max.driver import Buffer
from max.dtype import DType
from numpy.typing import NDArray

from gpu_tools.choices import N_ROWS, choose_tokens
from gpu_tools.random_model import rounded
from gpu_tools.result import TOLERANCE, Result
from gpu_tools.timing import Subject
from whisper_max.engine.stages import floats
from whisper_max.engine.weights import to_device

Array = NDArray[np.float32]


def check_smallest(subject: Subject, tensors: Mapping[str, Array], dtype: DType) -> Iterator[Result]:
    """Each compared over random inputs; tensors: the subject's weights, exact in the dtype."""
    rng = np.random.default_rng(2)
    yield _reorder(subject, dtype, rng)
    yield _no_speech(subject, rng)
    yield _cross_kv(subject, tensors, dtype, rng)
    found, expected = choose_tokens(subject.graphs["choose"], subject.dims, subject.place, rng)
    wrong = np.count_nonzero((found != expected).any(axis=1))
    yield Result("choose", f"{N_ROWS} rows", float(wrong), 0.0)


def _reorder(subject: Subject, dtype: DType, rng: np.random.Generator) -> Result:
    """Rows 2, 0 and 2 of three, of which the first five slots are in use; values that the dtype has, so no error."""
    dims, place = subject.dims, subject.place
    shape = (3, dims.n_text_head, dims.n_text_ctx, dims.n_text_state // dims.n_text_head)
    row_of, n_slots, n_caches = np.array([2, 0, 2], np.int32), 5, 2 * dims.n_text_layer
    sources = [_random(rng, dtype, *shape) for _ in range(n_caches)]
    targets = [place.zeros(shape) for _ in sources]
    slots = Buffer.from_numpy(np.array([n_slots], np.int64))
    read = [to_device(source, dtype, place.device) for source in sources]
    subject.graphs["reorder"].execute(place.put(row_of), slots, *targets, *read)
    errors = []
    for source, target in zip(sources, targets, strict=True):
        expected = np.zeros(shape, np.float32)
        expected[:, :, :n_slots] = source[row_of, :, :n_slots]
        errors.append(float(np.abs(floats(place, target) - expected).max()))
    return Result("reorder", f"{n_caches} caches", float(np.max(errors)), 0.0)


def _no_speech(subject: Subject, rng: np.random.Generator) -> Result:
    logits = 3 * rng.standard_normal((2, subject.dims.n_vocab), dtype=np.float32)
    token = subject.dims.n_vocab - 3
    put = subject.place.put
    (found,) = subject.graphs["no_speech"].execute(put(logits), put(np.array([token], np.int32)))
    wide = np.exp(logits.astype(np.float64))
    expected = wide[:, token] / wide.sum(-1)
    return Result("no_speech", "2 rows", _error(subject.place.get(found), expected), TOLERANCE["float32"])


def _cross_kv(subject: Subject, tensors: Mapping[str, Array], dtype: DType, rng: np.random.Generator) -> Result:
    """Keys and values of every layer for two windows, into buffers full of NaN."""
    dims, device = subject.dims, subject.place.device
    n_head, length, n_layer = dims.n_text_head, dims.n_audio_ctx, dims.n_text_layer
    shape = (2, n_head, length, dims.n_text_state // n_head)
    xa = _random(rng, dtype, 2, length, dims.n_audio_state)
    buffers = [to_device(np.full(shape, np.nan, np.float32), dtype, device) for _ in range(2 * n_layer)]
    subject.graphs["cross_kv"].execute(to_device(xa, dtype, device), *buffers)
    errors = []
    for index, buffer in enumerate(buffers):
        name = f"decoder.blocks.{index % n_layer}.cross_attn.{'key' if index < n_layer else 'value'}"
        expected = xa.astype(np.float64) @ tensors[f"{name}.weight"].T.astype(np.float64)
        if index >= n_layer:
            expected += tensors[f"{name}.bias"]
        found = floats(subject.place, buffer).transpose(0, 2, 1, 3).reshape(expected.shape)
        errors.append(_error(found, expected))
    return Result("cross_kv", f"{2 * n_layer} buffers", float(np.max(errors)), TOLERANCE[dtype.name])


def _random(rng: np.random.Generator, dtype: DType, *shape: int) -> Array:
    values: Array = rounded(rng.standard_normal(shape, dtype=np.float32), dtype)
    return values


def _error(found: NDArray[np.floating], expected: NDArray[np.float64]) -> float:
    """Relative; NaN where something is no number."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
