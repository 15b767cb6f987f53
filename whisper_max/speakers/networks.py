"""Both networks, ready to run on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whisper_max.engine.networks import HostGraphs
from whisper_max.errors import ArtifactError
from whisper_max.model.speakers.shapes import EMBEDDING, N_CLASSES, N_FRAMES, N_MELS
from whisper_max.speakers.weights import Tensors, embedding_weights, segmentation_weights

Float32 = NDArray[np.float32]


class SpeakerNetworks:
    """Segmentation and embedding.

    Args:
        module: the compiled graphs, in MAX's format.
        segmentation, embedding: the tensors of their checkpoints.

    Attributes:
        name: of the embedding with its weights; voices of two that differ in it can't be compared.

    Raises:
        ArtifactError: the graphs can't be loaded.
    """

    def __init__(self, module: bytes, segmentation: Tensors, embedding: Tensors) -> None:
        arrays = {
            **{f"segmentation.{name}": value for name, value in segmentation_weights(segmentation).items()},
            **{f"embedding.{name}": value for name, value in embedding_weights(embedding).items()},
        }
        last = arrays["embedding.dense.weight"]  # which no other training has
        self.name = f"CAM++ {hashlib.sha256(last.tobytes()).hexdigest()[:16]}"
        try:
            self._graphs = HostGraphs(module, arrays)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError("the compiled graphs can't be loaded", where="speakers", found=error) from error

    def segment(self, sound: Float32, starts: Sequence[int]) -> Float32:
        """Logits of ``shapes.CLASSES`` in windows of a sound, (B, N_FRAMES, N_CLASSES); see ``diarize.Networks``."""
        (logits,) = self._graphs.run("segment", sound, np.array(starts, np.int32))
        return logits.reshape(len(starts), N_FRAMES, N_CLASSES)

    def embed(self, voices: Sequence[Float32]) -> Float32:
        """Voices as vectors of length 1. voices: features (T, N_MELS), of the same T -> (B, EMBEDDING)."""
        (embeddings,) = self._graphs.run("embed", bordered(voices))
        vectors = embeddings.reshape(len(voices), EMBEDDING)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))

    def stages(self, graph: str, *values: Float32 | NDArray[np.int32]) -> list[Float32]:
        """The value of every stage of ``segment_stages`` or ``embed_stages``, for the graphs' own inputs."""
        return self._graphs.run(graph, *values)


def bordered(voices: Sequence[Float32]) -> Float32:
    """Features as the graph takes them: (B, N_MELS + 2, T + 2, 1), with a border of zeros."""
    values = np.zeros((len(voices), N_MELS + 2, len(voices[0]) + 2, 1), np.float32)
    for value, features in zip(values, voices, strict=True):
        value[1:-1, 1:-1, 0] = features.T
    return values
