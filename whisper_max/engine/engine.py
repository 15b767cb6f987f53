"""The engine: a checkpoint and its compiled graphs, ready to encode and decode."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

from max.dtype import DType

from whisper_max.checkpoint import Checkpoint
from whisper_max.compile.store import Report, find_module
from whisper_max.decode.contract import Float32
from whisper_max.dims import ModelDimensions
from whisper_max.engine.alignment_heads import AlignmentHeads
from whisper_max.engine.batch import DecoderGraphs, EncodedWindows, KVBatch
from whisper_max.engine.kept_weights import kept_weights
from whisper_max.engine.runtime import load_graphs
from whisper_max.engine.storage import narrowest_exact
from whisper_max.engine.tensors import Placement
from whisper_max.engine.weights import prepare_weights
from whisper_max.errors import ArtifactError, DeviceError
from whisper_max.hardware.forks import bind
from whisper_max.hardware.target import Target
from whisper_max.model.dtypes import kv_dtype
from whisper_max.model.stages import stage_names


class WhisperEngine:
    """Runs one checkpoint on one target. Implements ``decode.contract.Inference``.

    Args:
        checkpoint: the model.
        target: where and in which dtype it runs.
        report: called with a line for people when something slow is about to happen.
        bundle: the folder of compiled graphs of a bundle; nothing is compiled then.
        content: names the contents of the checkpoint's files, to keep the weights by; None keeps none.

    Attributes:
        code: what the compiled graphs were made for, one of the target's codes.

    Raises:
        ArtifactError: the graphs can't be compiled or loaded.
        CheckpointError: a tensor can't be read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        target: Target,
        report: Report,
        bundle: Path | None = None,
        content: str | None = None,
    ) -> None:
        self._dims = checkpoint.dims
        self._target = target
        storage = target.storage or narrowest_exact(checkpoint)
        self._placement = Placement(target.device, kv_dtype(target.dtype, storage))
        module, self.code = find_module(checkpoint.dims, storage, target, report, bundle)
        keep = None if content is None or storage != DType.int8 else partial(kept_weights, content, report)
        self._weights = prepare_weights(checkpoint.tensors, checkpoint.dims, target.dtype, storage, target.device, keep)
        try:
            self._graphs = load_graphs(module, target.device, self._weights)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError("the compiled graphs can't be loaded", where=target.code, found=error) from error
        bind(self)
        heads = AlignmentHeads(checkpoint, report)
        self._decoder = DecoderGraphs(self._graphs, self._dims, self._placement, heads)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: graphs and weights are bound to this process.

        Raises:
            DeviceError: always.
        """
        hint = 'load it in each process, which multiprocessing.get_context("spawn") starts'
        raise DeviceError("a model can't be pickled or copied", where=self.code, hint=hint)

    @property
    def dims(self) -> ModelDimensions:
        return self._dims

    def encode(self, mel: Float32) -> EncodedWindows:
        """mel: (n_windows, n_mels, n_frames) float32 -> features, one row a window."""
        (xa,) = self._graphs["encode"].execute(self._placement.put(mel))
        return EncodedWindows(xa)

    def encode_stages(self, mel: Float32) -> dict[str, Float32]:
        """Every stage of the encoder by name, (n_windows, n_audio_ctx, n_audio_state) float32; for verification."""
        values = self._graphs["encode_stages"].execute(self._placement.put(mel))
        return {
            name: self._placement.floats(value) for name, value in zip(stage_names(self._dims), values, strict=True)
        }

    def cross_kv_stages(self, features: EncodedWindows) -> dict[str, Float32]:
        """Cross keys and values by name, each (n_windows, n_audio_ctx, n_text_state) float32; for verification."""
        names = [f"cross_kv.{layer}.{side}" for side in ("key", "value") for layer in range(self._dims.n_text_layer)]
        buffers = self._decoder.cross_kv(features.n_windows)
        self._decoder.fill_cross_kv(features.xa, buffers)
        sides = (self._placement.floats(side).transpose(0, 2, 1, 3) for side in buffers)  # (B, T, H, hd)
        flat = (side.reshape(*side.shape[:2], -1) for side in sides)
        return dict(zip(names, flat, strict=True))

    @property
    def encode_size(self) -> int:
        """How many windows to encode together: on a CPU one keeps all cores busy, and more only take more memory."""
        return 1 if self._target.is_cpu else 8

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> KVBatch:
        """An empty decoder batch."""
        return KVBatch(self._decoder, max_windows, n_hyps)
