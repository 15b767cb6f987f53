"""Proof by numbers: a model's stages, logits and tokens against stored reference values.

A reference folder holds ``manifest.json`` and ``stages.npz``, as ``scripts/reference/dump_reference.py`` writes them:
for each stage its shape, which values were stored, how the error is measured and how much of it is tolerated.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.engine import WhisperEngine
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.stages import cross_kv_stages, encode_stages
from whisper_max.errors import CheckpointError
from whisper_max.measure.drawing.charts import Limited, limits
from whisper_max.measure.drawing.svg import Drawing

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """One stage: how far it is from the reference, and how far it may be. kind: "relative" or "absolute"."""

    stage: str
    error: float
    tolerance: float
    kind: str

    @property
    def passed(self) -> bool:
        """True within the tolerance; never for a NaN."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Reference:
    """Stored stages of one model on one recording."""

    manifest: Mapping[str, Any]
    stages: Mapping[str, Array]

    def whole(self, stage: str) -> Array:
        """A stage that was stored whole, in its own shape."""
        entry = self.manifest["stages"][stage]
        if entry["stride"] != 1:
            raise CheckpointError("only some values of this stage are stored", where=stage, expected="all")
        return self.stages[stage].reshape(entry["shape"])

    def compare(self, stage: str, ours: Array) -> Comparison:
        """Compare the whole tensor of a stage with the stored values of it.

        Raises:
            CheckpointError: the shapes differ, so this is another model.
        """
        entry = self.manifest["stages"][stage]
        if ours.size != np.prod(entry["shape"]):
            raise CheckpointError("not the reference's shape", where=stage, expected=entry["shape"], found=ours.shape)
        theirs = self.stages[stage].astype(np.float64)
        difference = ours.reshape(-1)[:: entry["stride"]].astype(np.float64) - theirs
        if entry["error"] == "absolute":
            error = np.abs(difference).max()
        else:
            error = np.linalg.norm(difference) / np.linalg.norm(theirs)
        return Comparison(stage, float(error), entry["tolerance"], entry["error"])


def draw_comparisons(comparisons: Sequence[Comparison]) -> list[Drawing]:
    """Each stage's error beside its tolerance, a drawing for each kind of error."""
    kinds = dict.fromkeys(each.kind for each in comparisons)
    return [
        limits(
            "Stages against openai-whisper",
            f"{kind} error",
            [Limited(each.stage, each.error, each.tolerance) for each in comparisons if each.kind == kind],
        )
        for kind in kinds
    ]


def read_reference(folder: Path) -> Reference:
    """Read a reference folder.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        with np.load(folder / "stages.npz") as stages:
            return Reference(manifest, dict(stages))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        hint = "scripts/reference/dump_reference.py writes such folders"
        raise CheckpointError("not a reference folder", where=folder, found=error, hint=hint) from error


def verify(engine: WhisperEngine, reference: Reference) -> Iterator[Comparison]:
    """Compare a model with a reference, stage by stage in the order data meets them.

    Raises:
        CheckpointError: the reference is of another model.
    """
    ours, theirs = asdict(engine.dims), reference.manifest["dims"]
    names = [name for name in ours if ours[name] != theirs[name]]
    if names:
        expected, found = (", ".join(f"{name} {dims[name]}" for name in names) for dims in (theirs, ours))
        raise CheckpointError("the reference is of another model", expected=expected, found=found)
    mel = reference.whole("mel").reshape(1, engine.dims.n_mels, engine.dims.n_frames)
    for stage, value in encode_stages(engine, mel).items():
        yield reference.compare(stage, value)
    features = engine.encode(mel)
    for stage, value in cross_kv_stages(engine, features).items():
        yield reference.compare(stage, value)
    for stage, row in _logits(engine, features, reference.manifest):
        if stage in reference.stages:
            yield reference.compare(stage, row)


def _logits(
    engine: WhisperEngine, features: EncodedWindows, manifest: Mapping[str, Any]
) -> Iterator[tuple[str, Array]]:
    """The logits over both prompts, and after each token fed through the cache."""
    batch = engine.new_batch(1)
    batch.put([0], features)
    for name, key in (("prefill", "prompt"), ("prompted", "long_prompt")):
        prompt = manifest[key]
        (logits,) = batch.prefill([0], [prompt], [range(len(prompt))])
        yield from ((f"logits.{name}.{position}", row) for position, row in enumerate(logits))
    batch.prefill([0], [manifest["prompt"]], [[-1]])
    for position, token in enumerate(manifest["tokens"]):
        yield f"logits.step.{position}", batch.step(np.array([token], np.int32))[0]
