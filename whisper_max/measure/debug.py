"""Inside one window: what each stage of a model holds, what the text attends to, and where two models part.

Stages are those of ``verify``: of the encoder, the cross-attention keys and values, the logits. Two models are held
against each other on the same mel and the same tokens: a stage differs for itself or for a stage before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from whisper_max.api import Model
from whisper_max.audio.io import open_audio
from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES, TOKENS_PER_SECOND, MelWindows
from whisper_max.audio.waveform import Waveform
from whisper_max.decode.contract import Float32
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.windows import decode_features
from whisper_max.dims import HOP_LENGTH, ModelDimensions
from whisper_max.engine import WhisperEngine
from whisper_max.engine.stages import cross_kv_stages, encode_stages
from whisper_max.errors import CheckpointError, OptionError
from whisper_max.files.remote import Place
from whisper_max.measure.drawing.charts import Limited, Spread, heat_map, limits, spreads
from whisper_max.measure.drawing.svg import Drawing, as_page, as_svg
from whisper_max.measure.verify import Comparison
from whisper_max.output import write_atomically
from whisper_max.text.tokenizer import Tokenizer, build_tokenizer
from whisper_max.transcribe.alignment import token_times
from whisper_max.transcribe.timing import alignment_tokens

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-2, "int8": 0.25}
"""Relative error that a compute type may have at any stage. float32: twice what ``verify`` allows each of two; float16
and bfloat16: what a GPU is checked with; int8: twice the largest measured on 12 recordings with tiny.en and base."""
INT8_BLOCK = 0.5
"""The same at int8 and a block of the encoder: single activations hundreds of times the others, which the norm after
the last block takes back, are most of its error (up to 0.41 there, up to 0.14 elsewhere)."""
_ROW = 15.0  # pixels of a token in the picture of the attention
_MOST_HEADS = 8  # that are drawn one by one

Tick = Callable[[], object]


@dataclass(frozen=True)
class Window:
    """Up to 30 seconds of a recording.

    mel: (n_mels, 3000) float32, zeros after its content. start, duration: of the content, in seconds.
    """

    mel: Float32
    start: float
    duration: float

    @property
    def n_frames(self) -> int:
        """Mel frames of content."""
        return round(self.duration * FRAMES_PER_SECOND)


def open_window(path: str, start: float, n_mels: int) -> Window:
    """The window of a recording that begins at ``start`` seconds.

    Raises:
        AudioError: the recording can't be read.
        OptionError: it ends before.
    """
    with open_audio(path) as waveform:
        check_start(waveform, start)
        mel = MelWindows(waveform, n_mels)
        seek = round(start * FRAMES_PER_SECOND)
        size = min(N_FRAMES, mel.n_frames - seek)
        return Window(mel.window(seek, size), seek / FRAMES_PER_SECOND, size / FRAMES_PER_SECOND)


def check_start(waveform: Waveform, start: float) -> None:
    """Refuse a window that begins where there is no recording.

    Raises:
        OptionError: it does.
    """
    if not 0 <= round(start * FRAMES_PER_SECOND) < max(waveform.n_samples // HOP_LENGTH, 1):
        raise OptionError(
            "not inside the recording", where="start", expected=f"0 to {waveform.duration:.2f}", found=start
        )


@dataclass(frozen=True)
class Said:
    """What a model makes of a window.

    language: a code. text: its greedy transcript. tokens: with the prompt and the end, as they are aligned.
    attention: (n_alignment_heads, n_tokens, n_audio_ctx) float32, each row's sum 1.
    tokenizer: of the language.
    """

    language: str
    text: str
    tokens: list[int]
    attention: Float32
    tokenizer: Tokenizer


def listen(model: Model, window: Window, language: str | None) -> Said:
    """Transcribe a window greedily, without timestamps, and see what each token attends to.

    Raises:
        OptionError: a language that the model doesn't know.
    """
    features = model.inference.encode(window.mel[None])
    (found,) = decode_features(
        model.inference, model.vocabulary, features, DecodingOptions(language=language, without_timestamps=True)
    )
    tokenizer = build_tokenizer(
        model.vocabulary, multilingual=model.is_multilingual, language=found.language, task="transcribe"
    )
    tokens = alignment_tokens(tokenizer, [token for token in found.tokens if tokenizer.is_text(token)])
    batch = model.inference.new_batch(1)
    batch.put([0], features)
    attention = batch.align(0, tokens, tokenizer.n_competing).weights
    return Said(found.language, found.text, tokens, attention, tokenizer)


def stages(model: Model, mel: Float32, tokens: Sequence[int]) -> Iterator[tuple[str, Float32]]:
    """Every stage of a model by name, in the order data meets them.

    Args:
        mel: (n_mels, 3000) float32.
        tokens: that the decoder is given, all at once and then one after the other.
    """
    engine = cast(WhisperEngine, model.inference)
    yield from encode_stages(engine, mel[None]).items()
    features = engine.encode(mel[None])
    yield from cross_kv_stages(engine, features).items()
    batch = engine.new_batch(1)
    batch.put([0], features)
    yield "logits.prefill", batch.prefill([0], [tokens], [range(len(tokens))])[0]  # (n_tokens, n_vocab)
    steps = [batch.prefill([0], [tokens[:1]], [[-1]])[0, 0]]
    steps += [batch.step(np.array([token], np.int32))[0].copy() for token in tokens[1:]]
    yield "logits.step", np.stack(steps)  # (n_tokens, n_vocab)


@dataclass(frozen=True)
class Stage:
    """What the values of a stage are like; those that are not finite are counted and left out of the rest."""

    name: str
    mean: float
    deviation: float
    least: float
    most: float
    n_not_finite: int


def describe(name: str, values: NDArray[np.floating]) -> Stage:
    """Mean, deviation and range of a stage."""
    finite = values[np.isfinite(values)].astype(np.float64)
    n_not_finite = values.size - finite.size
    if not finite.size:
        return Stage(name, math.nan, math.nan, math.nan, math.nan, n_not_finite)
    mean, deviation = float(finite.mean()), float(finite.std())
    return Stage(name, mean, deviation, float(finite.min()), float(finite.max()), n_not_finite)


# ---------------------------------------------------------------- two models


@dataclass(frozen=True)
class Difference:
    """Two models on one window.

    comparisons: each stage of the other against the first's. same_tokens: positions at which both hold the same token
    for the likeliest, of how many.
    """

    comparisons: list[Comparison]
    same_tokens: tuple[int, int]

    @property
    def first(self) -> Comparison | None:
        """The first stage that leaves its tolerance."""
        return next((each for each in self.comparisons if not each.passed), None)


def check_comparable(ours: ModelDimensions, theirs: ModelDimensions) -> None:
    """Refuse models of different sizes, whose stages have nothing in common.

    Raises:
        CheckpointError: they are.
    """
    names = [each.name for each in fields(ours) if getattr(ours, each.name) != getattr(theirs, each.name)]
    if names:
        expected, found = (", ".join(f"{name} {getattr(dims, name)}" for name in names) for dims in (ours, theirs))
        hint = "stages can be compared of models of one size"
        raise CheckpointError("not the same sizes", where="against", expected=expected, found=found, hint=hint)


def compute_type_of(target: str) -> str:
    """The compute type in the name of a target, as ``load.target_name`` makes it."""
    kind, _, weights = target.partition(", weights ")
    return "int8" if weights.startswith("int8") else kind.rpartition(" ")[2]


def tolerance_for(stage: str, *targets: str | None) -> float:
    """The relative error that may be at a stage between models on these targets: that of the least exact."""
    types = {compute_type_of(target or "") for target in targets}
    if "int8" in types and stage.startswith("encoder.block."):
        return INT8_BLOCK
    return max(TOLERANCES.get(each, TOLERANCES["float32"]) for each in types)


def compare(
    ours: Mapping[str, Float32],
    theirs: Iterator[tuple[str, Float32]],
    tolerance: Callable[[str], float],
    tick: Tick = lambda: None,
) -> Difference:
    """Hold each stage against the first model's.

    Args:
        ours: the stages of the first model.
        theirs: those of the other, as they come.
        tolerance: of a stage: norm of the difference over the norm of the first's that it may have.
        tick: called after each stage.
    """
    found, same = [], (0, 0)
    for name, value in theirs:
        expected = ours[name]
        found.append(Comparison(name, relative_error(value, expected), tolerance(name), "relative"))
        if name == "logits.prefill":
            alike = value.argmax(axis=-1) == expected.argmax(axis=-1)
            same = (int(alike.sum()), len(alike))
        tick()
    return Difference(found, same)


def relative_error(value: Float32, expected: NDArray[np.floating]) -> float:
    """Norm of the difference over the norm of what is expected, in float64; 0 where both are all 0."""
    difference = np.linalg.norm(value.astype(np.float64) - expected)
    size = np.linalg.norm(expected.astype(np.float64))
    return float(difference / size) if size else (0.0 if difference == 0 else math.inf)


# ---------------------------------------------------------------- pictures


def draw(window: Window, said: Said, described: Sequence[Stage]) -> dict[str, list[Drawing]]:
    """The pictures of one model, by the names of their files."""
    content = max(window.n_frames, 1)
    seconds = (window.start, window.start + content / FRAMES_PER_SECOND)
    mel = heat_map("Log-mel", window.mel[::-1, :content], seconds=seconds, note="low pitch at the bottom")
    spread = [Spread(each.name, each.mean, each.deviation, each.least, each.most) for each in described]
    return {
        "mel": [mel],
        "stages": [spreads("What each stage holds", spread)],
        "cross_attention": _draw_attention(window, said, seconds),
    }


def _draw_attention(window: Window, said: Said, seconds: tuple[float, float]) -> list[Drawing]:
    """Where each token looks: the mean of the alignment heads with the times of words, then heads one by one."""
    n_positions = max(window.n_frames * TOKENS_PER_SECOND // FRAMES_PER_SECOND, 1)
    weights = said.attention[:, :, :n_positions]
    first = len(said.tokenizer.sot_sequence)
    names = [said.tokenizer.decode_with_timestamps([token]) for token in said.tokens[1:]]  # a row says the next token
    begins = dict(enumerate(token_times(said.attention, window.n_frames, first).tolist(), start=first))
    note = "mean of the alignment heads; the square root of each weight; the mark is where a token begins"
    mean = np.sqrt(weights.mean(axis=0))[:-1]
    drawings = [
        heat_map("Cross-attention", mean, seconds=seconds, names=names, note=note, row_height=_ROW, marks=begins)
    ]
    for number, head in enumerate(weights[:_MOST_HEADS], start=1):
        title = f"Alignment head {number} of {len(weights)}"
        drawings.append(heat_map(title, np.sqrt(head), seconds=seconds, note="one row a token"))
    return drawings


def draw_difference(difference: Difference, ours: str, theirs: str) -> Drawing:
    """Each stage's error beside its tolerance."""
    rows = [Limited(each.stage, each.error, each.tolerance) for each in difference.comparisons]
    return limits(f"{theirs} against {ours}", "relative error", rows)


@dataclass(frozen=True)
class Report:
    """All that was found of a window, to be written.

    about: model, target and recording, and what else is to be known of them, by name. against: the other model, in
    words.
    """

    about: Mapping[str, Any]
    window: Window
    said: Said
    stages: Sequence[Stage]
    difference: Difference | None = None
    against: str | None = None

    def drawings(self) -> dict[str, list[Drawing]]:
        """The pictures, by the names of their files."""
        found = draw(self.window, self.said, self.stages)
        if self.difference is not None and self.against is not None:
            ours = f"{self.about['model']} on {self.about['target']}"
            found["comparison"] = [draw_difference(self.difference, ours, self.against)]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Every figure by name, JSON-serialisable; what is not a finite number is None."""
        difference = self.difference
        compared = None
        if difference is not None:
            compared = {
                "against": self.against,
                "stages": [_finite(asdict(each)) for each in difference.comparisons],
                "first_out_of_tolerance": None if difference.first is None else difference.first.stage,
                "same_tokens": difference.same_tokens[0],
                "tokens": difference.same_tokens[1],
            }
        return {
            "kind": "debug",
            **self.about,
            "start": self.window.start,
            "duration": self.window.duration,
            "language": self.said.language,
            "text": self.said.text,
            "tokens": self.said.tokens,
            "stages": [_finite(asdict(each)) for each in self.stages],
            "comparison": compared,
        }

    def write(self, folder: Place) -> list[Place]:
        """Write the pictures, a page of them and the figures into a folder, which is made when missing.

        Raises:
            OutputError: a file can't be written.
        """
        drawings = self.drawings()
        paths: list[Place] = []
        for name, parts in drawings.items():
            paths.append(folder / f"{name}.svg")
            write_atomically(paths[-1], as_svg(parts))
        title = f"{self.about['audio']}, from {self.window.start:.2f} s"
        note = f"{self.about['model']} on {self.about['target']}: {self.said.text}"
        page, figures = folder / "index.html", folder / "stages.json"
        write_atomically(page, as_page(title, [each for parts in drawings.values() for each in parts], note))
        write_atomically(figures, json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n")
        return [*paths, page, figures]


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
