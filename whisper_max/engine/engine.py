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
from whisper_max.engine.loading import load_graphs
from whisper_max.engine.runtime import Placement
from whisper_max.engine.storage import narrowest_exact
from whisper_max.engine.weights import prepare_weights
from whisper_max.errors import ArtifactError, DeviceError
from whisper_max.hardware.forks import bind
from whisper_max.hardware.target import Target
from whisper_max.model.panels import cross_dtype, kv_dtype


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
        decoder: the graphs, and where they run. weights: by the graphs' names. target: as given.

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
        self.target = target
        storage = target.storage or narrowest_exact(checkpoint)
        self._placement = Placement(target.device, kv_dtype(target.dtype, storage))
        module, self.code = find_module(checkpoint.dims, storage, target, report, bundle)
        keep = None if content is None or storage != DType.int8 else partial(kept_weights, content, report)
        self.weights = prepare_weights(checkpoint.tensors, checkpoint.dims, target.dtype, storage, target.device, keep)
        try:
            self._graphs = load_graphs(module, target.device, self.weights)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError("the compiled graphs can't be loaded", where=target.code, found=error) from error
        bind(self)
        cross, heads = cross_dtype(target.dtype, storage), AlignmentHeads(checkpoint, report)
        self.decoder = DecoderGraphs(self._graphs, self._dims, self._placement, cross, heads)

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

    @property
    def encode_size(self) -> int:
        """How many windows to encode together: on a CPU one keeps all cores busy, and more only take more memory."""
        return 1 if self.target.is_cpu else 8

    @property
    def chooses_tokens(self) -> bool:
        """False: on a CPU the host chooses."""
        return False

    def new_batch(self, max_windows: int, n_hyps: int = 1) -> KVBatch:
        """An empty decoder batch."""
        return KVBatch(self.decoder, max_windows, n_hyps)
