"""The engine: a checkpoint and its compiled graphs, ready to encode and decode."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from max.driver import CPU
from max.dtype import DType
from max.engine import InferenceSession, read
from numpy.typing import NDArray

from whisper_max.checkpoint import Checkpoint, Tensors
from whisper_max.checkpoint.own_format import is_matrix
from whisper_max.dims import ModelDimensions
from whisper_max.engine.batch import DecoderGraphs, KVBatch
from whisper_max.engine.devices import Target
from whisper_max.engine.features import EncodedWindows
from whisper_max.engine.store import Report, find_module
from whisper_max.engine.tensors import Placement
from whisper_max.engine.weights import fits_float16, prepare_weights
from whisper_max.errors import ArtifactError, OptionError
from whisper_max.graph.dtypes import kv_dtype
from whisper_max.graph.stages import stage_names

Float32 = NDArray[np.float32]

PUBLISHED_STORAGE = DType.float16
"""What holds every matrix of OpenAI's checkpoints exactly: they were published in it."""


def narrowest_exact(checkpoint: Checkpoint) -> DType:
    """float16 where that holds every matrix of the checkpoint exactly, else float32; int8 where it is quantised."""
    tensors = checkpoint.tensors
    if isinstance(tensors, Tensors):
        if tensors.quantized:
            return DType.int8
        if all(tensors.dtype(name) == "float16" for name in tensors if is_matrix(name, tensors.shape(name))):
            return DType.float16
    return DType.float16 if fits_float16(tensors, checkpoint.dims) else DType.float32


def compute_type_for(checkpoint: Checkpoint, compute_type: str) -> str:
    """The compute type to run a checkpoint with: int8 where its weights are, else the one asked for.

    Raises:
        OptionError: int8 weights, and another compute type: it would not have the original's values.
    """
    tensors = checkpoint.tensors
    if not (isinstance(tensors, Tensors) and tensors.quantized):
        return compute_type
    if compute_type not in ("auto", "int8"):
        hint = "take the model that it was made from"
        raise OptionError(
            "these weights are int8", where="compute_type", expected="auto or int8", found=compute_type, hint=hint
        )
    return "int8"


class WhisperEngine:
    """Runs one checkpoint on one target. Implements ``decode.inference.Inference``.

    Args:
        checkpoint: the model.
        target: where and in which dtype it runs.
        report: called with a line for people when something slow is about to happen.
        bundle: the folder of compiled graphs of a bundle; nothing is compiled then.

    Attributes:
        code: what the compiled graphs were made for, one of the target's codes.

    Raises:
        ArtifactError: the graphs can't be compiled or loaded.
        CheckpointError: a tensor can't be read.
    """

    def __init__(self, checkpoint: Checkpoint, target: Target, report: Report, bundle: Path | None = None) -> None:
        self._dims = checkpoint.dims
        self._target = target
        storage = target.storage or narrowest_exact(checkpoint)
        self._placement = Placement(target.device, kv_dtype(target.dtype, storage))
        module, self.code = find_module(checkpoint.dims, storage, target, report, bundle)
        self._weights = prepare_weights(checkpoint.tensors, checkpoint.dims, target.dtype, storage, target.device)
        devices = [CPU()] if target.is_cpu else [CPU(), target.device]
        try:
            self._graphs = InferenceSession(devices=devices).init_all(
                read(BytesIO(module)), weights_registry=self._weights
            )
        except (RuntimeError, ValueError) as error:
            raise ArtifactError("the compiled graphs can't be loaded", where=target.code, found=error) from error
        heads = _head_numbers(checkpoint)
        self._decoder = DecoderGraphs(self._graphs, self._dims, self._placement, heads)

    @property
    def dims(self) -> ModelDimensions:
        """The model's dimensions."""
        return self._dims

    def encode(self, mel: Float32) -> EncodedWindows:
        """mel: (n_windows, n_mels, n_frames) float32 -> features, one row a window."""
        (xa,) = self._graphs["encode"].execute(self._placement.put(mel))
        return EncodedWindows(xa)

    def encode_stages(self, mel: Float32) -> dict[str, Float32]:
        """Every stage of the encoder by name, each (n_windows, n_audio_ctx, n_audio_state); for verification."""
        values = self._graphs["encode_stages"].execute(self._placement.put(mel))
        return {name: self._placement.get(value) for name, value in zip(stage_names(self._dims), values, strict=True)}

    def cross_kv_stages(self, features: EncodedWindows) -> dict[str, Float32]:
        """Cross keys and values by name, each (n_windows, n_audio_ctx, n_text_state) float32; for verification."""
        names = [f"cross_kv.{layer}.{side}" for side in ("key", "value") for layer in range(self._dims.n_text_layer)]
        buffers = self._decoder.cross_kv(features.n_windows)
        self._decoder.fill_cross_kv(features.xa, buffers)
        sides = (self._placement.get(side).transpose(0, 2, 1, 3) for side in buffers)  # (B, T, H, hd)
        flat = (side.reshape(*side.shape[:2], -1).astype(np.float32) for side in sides)
        return dict(zip(names, flat, strict=True))

    @property
    def encode_size(self) -> int:
        """How many windows to encode together: on a CPU one keeps all cores busy, and more only take more memory."""
        return 1 if self._target.is_cpu else 8

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> KVBatch:
        """An empty decoder batch."""
        return KVBatch(self._decoder, max_windows, n_hyps)


def _head_numbers(checkpoint: Checkpoint) -> NDArray[np.int32] | None:
    """The alignment heads, counted through all layers."""
    if checkpoint.alignment_heads is None:
        return None
    heads = [layer * checkpoint.dims.n_text_head + head for layer, head in checkpoint.alignment_heads]
    return np.array(heads, np.int32)
