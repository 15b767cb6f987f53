"""LoRA adapters as peft saves them, merged into a checkpoint's tensors when these are read.

``adapter_config.json`` says how strong an adapter is; ``adapter_model.safetensors`` holds, for each matrix W that it
changes, A (r, n_in) and B (n_out, r): W becomes W + scale * B A, with scale lora_alpha / r (or / sqrt(r)). DoRA's then
gives each output the magnitude that it learned, a vector (n_out,). It may hold whole tensors too, which replace the
model's. Source: peft ``tuners/lora/layer.py``, ``get_delta_weight``, and ``tuners/lora/variants.py``, ``merge_safe``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.huggingface import bare_name, read_pytorch_shard
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.checkpoint.names.huggingface import TABLE
from whisper_max.checkpoint.safetensors import read_shard
from whisper_max.checkpoint.table import KEY_BIAS, expand, summarise
from whisper_max.checkpoint.tensors import Entry, InFile, Tensors
from whisper_max.checkpoint.vocabulary import read_json
from whisper_max.dims import ModelDimensions
from whisper_max.errors import CheckpointError, brief

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_PARTS = re.compile(
    r"\.lora_((?P<embedding>embedding_)?(?P<side>[AB])|(?P<magnitude>magnitude_vector))(\.default)?(\.weight)?$"
)
_SHIFT = re.compile(r"\.lora_B(\.default)?(?=\.bias$)")
_WHOLE = re.compile(r"\.(base_layer|modules_to_save)(\.default)?(?=\.)")
_UNKNOWN_KINDS = (
    *("use_qalora", "use_bdlora", "fan_in_fan_out", "layer_replication", "target_parameters", "velora_config"),
    *("trainable_token_indices", "megatron_config", "alora_invocation_tokens", "arrow_config", "kasa_config"),
    "monteclora_config",
)
"""Settings of peft under which an adapter is more, or other, than LoRA's or DoRA's."""

_PATTERN = re.compile(r"\^?(\\[.d]|\[[\w-]+\]|\.|[\w|()-]|(?<!\))[*+](?![*+]))+\$?")
"""Regular expressions in which nothing that repeats is inside what repeats, so that they take no long time."""
_BRANCHING = re.compile(r"[*+(]")  # each multiplies the ways in which a name may fit
_MOST_BRANCHING, _MOST_CHOICES = 3, 16

_CHANGE_THE_BASE = ("pissa", "olora", "loftq", "corda")
_MERGE_WITH_PEFT = "merge it with peft (merge_and_unload) and load the result"
_OTHER_MODEL = "the adapter is of another model"
_TOKENS_ADDED = (
    "its model has other tokens: merge it with peft (merge_and_unload), and load the result with its tokenizer"
)


@dataclass(frozen=True)
class Adapter:
    """An adapter's files. factor: how strongly it is applied, 1 as it was trained."""

    config: Path
    weights: Path
    factor: float = 1.0


class Change(Protocol):
    """What an adapter does to one tensor."""

    def apply(self, merged: NDArray[np.float32], base: NDArray[np.float32]) -> None:
        """Change ``merged`` in place, which others may have changed before. base: the model's own tensor."""
        ...


@dataclass(frozen=True)
class LowRank:
    """One change of one matrix: scale * B A. down: A, (r, n_in) or (r, n_in, k). up: B, (n_out, r) or (n_out, r, 1).

    transposed: it is of an embedding, whose rows are A's columns.
    magnitude: DoRA's, the norm that each output has afterwards, (n_out,) or (1, n_out, 1); None for LoRA.
    """

    down: InFile
    up: InFile
    scale: float
    transposed: bool
    magnitude: InFile | None = None

    def apply(self, merged: NDArray[np.float32], base: NDArray[np.float32]) -> None:
        """Add the product; DoRA's factor is that of this change alone on the model's own matrix, as in peft."""
        delta = self._delta(merged.shape)
        merged += delta
        if self.magnitude is None:
            return
        delta += base
        n_out = delta.shape[1] if self.transposed else len(delta)
        outputs = delta.T if self.transposed else delta.reshape(n_out, -1)
        with np.errstate(divide="ignore", invalid="ignore"):  # values that are no numbers are found by who loads them
            factor = _float32(self.magnitude).ravel() / np.linalg.norm(outputs, axis=1)
        merged *= factor if self.transposed else factor.reshape(-1, *(1 for _ in merged.shape[1:]))

    def _delta(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        up, down = (_float32(part).reshape(len(_float32(part)), -1) for part in (self.up, self.down))
        product = up @ down * np.float32(self.scale)
        return (product.T if self.transposed else product).reshape(shape)


@dataclass(frozen=True)
class Shift:
    """A bias that B has, which adds to its layer's."""

    bias: InFile
    scale: float

    def apply(self, merged: NDArray[np.float32], base: NDArray[np.float32]) -> None:
        """Add it."""
        merged += _float32(self.bias) * np.float32(self.scale)


@dataclass(frozen=True)
class MergedTensor:
    """A tensor with changes made to it, in float32."""

    base: Entry
    changes: tuple[Change, ...] = field(repr=False)
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    def read(self) -> NDArray[np.float32]:
        """What they make of it, in the order of the adapters."""
        base = _float32(self.base)
        merged = base.copy()
        for change in self.changes:
            change.apply(merged, base)
        return merged


def adapter_at(folder: Path, factor: float = 1.0) -> Adapter:
    """The adapter in a folder.

    Raises:
        CheckpointError: no adapter there.
    """
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG).is_file():
        raise CheckpointError("no LoRA adapter in this folder", where=folder, expected=f"{CONFIG} and {WEIGHTS[0]}")
    return Adapter(folder / CONFIG, weights, factor)


def merge_adapters(tensors: Tensors, adapters: Iterable[Adapter], dims: ModelDimensions) -> Tensors:
    """A model's tensors with adapters merged into them, one after the other; nothing is computed yet.

    Raises:
        CheckpointError: int8 weights; an adapter of a kind that is not merged here, of another model, or damaged.
    """
    for adapter in adapters:
        if tensors.quantized:
            raise CheckpointError(
                "can't be merged into quantised weights", where=adapter.config, hint="give the original"
            )
        tensors = _merge(tensors, adapter, dims)
    return tensors


@dataclass(frozen=True)
class _Parts:
    """An adapter's tensors, by our names of those that they change.

    pairs: A and B, by the matrix and whether it is an embedding's. magnitudes: DoRA's, by the matrix. shifts: by the
    bias. whole: tensors that replace the model's.
    """

    pairs: dict[tuple[str, bool], dict[str, InFile]] = field(default_factory=dict)
    magnitudes: dict[str, InFile] = field(default_factory=dict)
    shifts: dict[str, InFile] = field(default_factory=dict)
    whole: dict[str, Entry] = field(default_factory=dict)


def _merge(tensors: Tensors, adapter: Adapter, dims: ModelDimensions) -> Tensors:
    config = read_json(adapter.config)
    _check_kind(config, adapter.config)
    parts = _read_parts(tensors, adapter, dims)
    merged = tensors.replaced(_own_logits(parts.whole, tensors))
    is_said_twice = config.get("ensure_weight_tying") is True and (TOKEN_EMBEDDING, True) in parts.pairs
    for (target, transposed), sides in parts.pairs.items():
        magnitude = parts.magnitudes.get(target)
        if target == LOGITS and target not in merged:
            if is_said_twice:
                continue  # the layers share their matrices as the model does: one change, which peft's merge adds twice
            target = TOKEN_EMBEDDING  # one matrix, which both share
        change = _low_rank(sides, magnitude, target, merged.shape(target), config, adapter, transposed)
        merged = _changed(merged, target, change)
    for target, tensor in parts.shifts.items():
        down = parts.pairs.get((target.removesuffix("bias") + "weight", False), {}).get("A")
        if down is None:
            raise CheckpointError(f"half of the change of {target} is missing", where=adapter.weights)
        scale = adapter.factor * _scale(config, down.name, down.shape[0], adapter.config)
        merged = _changed(merged, target, Shift(tensor, scale))
    return merged


def _changed(tensors: Tensors, target: str, change: Change) -> Tensors:
    base = tensors.entry(target)
    changes = (*base.changes, change) if isinstance(base, MergedTensor) else (change,)
    return tensors.replaced({target: MergedTensor(base.base if isinstance(base, MergedTensor) else base, changes)})


def _read_parts(tensors: Tensors, adapter: Adapter, dims: ModelDimensions) -> _Parts:
    """What the adapter's file holds, all of it known."""
    names = {theirs: ours[0] for theirs, ours in expand(TABLE.tensors, dims).items()} | {TABLE.logits: LOGITS}
    read = read_shard if adapter.weights.suffix == ".safetensors" else read_pytorch_shard
    parts, unknown = _Parts(), []
    for tensor in read(adapter.weights):
        part, shift = _PARTS.search(tensor.name), _SHIFT.search(tensor.name)
        name = tensor.name[: part.start()] + ".weight" if part else _SHIFT.sub("", _WHOLE.sub("", tensor.name))
        target = names.get(bare_name(name), KEY_BIAS)
        if target == KEY_BIAS:
            unknown.append(tensor.name)
        elif part is None:
            shape = tensors.shape(TOKEN_EMBEDDING if target == LOGITS else target)
            has_more_tokens = target in (TOKEN_EMBEDDING, LOGITS) and tensor.shape[1:] == shape[1:]
            _check(tensor.shape == shape, tensor, shape, _TOKENS_ADDED if has_more_tokens else _OTHER_MODEL)
            (parts.shifts if shift else parts.whole)[target] = tensor
        elif part["magnitude"]:
            parts.magnitudes[target] = tensor
        else:
            parts.pairs.setdefault((target, bool(part["embedding"])), {})[part["side"]] = tensor
    matrices = {target for target, _ in parts.pairs}
    unknown += [tensor.name for target, tensor in parts.magnitudes.items() if target not in matrices]
    if unknown or not (parts.pairs or parts.whole):
        raise CheckpointError(
            "not an adapter of this model: " + (f"unknown tensors {summarise(unknown)}" if unknown else "empty"),
            where=adapter.weights,
        )
    return parts


def _own_logits(entries: Mapping[str, Entry], tensors: Tensors) -> Mapping[str, Entry]:
    """Whole tensors of an adapter, with the matrix of the logits where that is another than the embedding then.

    An embedding that was trained as a whole leaves the old one to the logits, as in peft.
    """
    if not {TOKEN_EMBEDDING, LOGITS} & set(entries):
        return entries
    before = tensors.entry(LOGITS if LOGITS in tensors else TOKEN_EMBEDDING)
    embedding, logits = entries.get(TOKEN_EMBEDDING, tensors.entry(TOKEN_EMBEDDING)), entries.get(LOGITS, before)
    others = {name: entry for name, entry in entries.items() if name != LOGITS}
    same = LOGITS not in tensors and np.array_equal(embedding.read(), logits.read())
    return others if same else others | {LOGITS: logits}


def _check_kind(config: Mapping[str, object], where: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise CheckpointError(
            "not a LoRA adapter", where=where, expected="peft_type 'LORA'", found=brief(config.get("peft_type")),
            hint=_MERGE_WITH_PEFT,
        )  # fmt: skip
    start = config.get("init_lora_weights")
    changes_base = isinstance(start, str) and start.lower().startswith(_CHANGE_THE_BASE)
    kinds = [f"init_lora_weights {start}"] if changes_base else []
    kinds += [key for key in _UNKNOWN_KINDS if config.get(key)]
    if kinds:
        raise CheckpointError(f"an adapter with {kinds[0][:60]}", where=where, hint=_MERGE_WITH_PEFT)


def _low_rank(
    sides: Mapping[str, InFile],
    magnitude: InFile | None,
    target: str,
    shape: tuple[int, ...],
    config: Mapping[str, object],
    of: Adapter,
    embedding: bool,
) -> LowRank:
    """One change, once its parts are known to fit the tensor and each other; an embedding's is transposed."""
    down, up = sides.get("A"), sides.get("B")
    if down is None or up is None:
        raise CheckpointError(f"half of the change of {target} is missing", where=of.weights)
    n_out, n_in = (shape[1], shape[0]) if embedding else (shape[0], shape[1])
    rank = down.shape[0] if down.shape else 0
    taps = shape[2:]
    _check(down.shape == (rank, n_in, *taps) and rank > 0, down, (rank, n_in, *taps))
    _check(up.shape == (n_out, rank, *(1 for _ in taps)), up, (n_out, rank, *(1 for _ in taps)))
    if (magnitude is not None) != (config.get("use_dora") is True):
        what = "without" if magnitude is None else "with"
        raise CheckpointError(
            f"a change of {target} {what} a magnitude, and use_dora is {brief(config.get('use_dora'))}", where=of.config
        )
    if magnitude is not None:
        _check(tuple(size for size in magnitude.shape if size != 1) == (n_out,), magnitude, (n_out,))
        if of.factor != 1:
            raise CheckpointError(
                "DoRA's magnitudes are learned for its full strength", where=of.config, expected="=1 or nothing",
                found=f"={of.factor:g}",
            )  # fmt: skip
    return LowRank(down, up, of.factor * _scale(config, down.name, rank, of.config), embedding, magnitude)


def _scale(config: Mapping[str, object], name: str, rank: int, where: Path) -> float:
    """lora_alpha over the rank or its root, either of which patterns may set for some layers."""
    layer = _PARTS.sub("", name).removeprefix("base_model.model.")
    alpha = _by_pattern(config, "alpha_pattern", "lora_alpha", layer, where)
    stated = _by_pattern(config, "rank_pattern", "r", layer, where)
    if stated != rank:
        raise CheckpointError(f"another rank of {name[:80]}", where=where, expected=brief(stated), found=rank)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") is True else rank)


def _by_pattern(config: Mapping[str, object], patterns: str, default: str, layer: str, where: Path) -> float:
    """What the first pattern that fits the end of a layer's name says of it, else the default."""
    value = config.get(default)
    table = config.get(patterns) or {}
    for pattern, special in table.items() if isinstance(table, dict) else ():
        is_quick = len(_BRANCHING.findall(pattern)) <= _MOST_BRANCHING and pattern.count("|") <= _MOST_CHOICES
        if not is_quick or not _PATTERN.fullmatch(pattern):
            raise CheckpointError(
                f"{patterns} with an unusual regular expression", where=where, found=brief(pattern),
                hint=_MERGE_WITH_PEFT,
            )  # fmt: skip
        try:
            fits = re.match(rf"(.*\.)?({pattern})$", layer)  # as peft's get_pattern_key
        except re.error as error:
            raise CheckpointError(f"{patterns} with a broken regular expression", where=where, found=error) from error
        if fits is not None:
            value = special
            break
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 31:
        raise CheckpointError(f"impossible {default}", where=where, expected="above 0", found=brief(value))
    return float(value)


def _check(fits: bool, tensor: InFile, expected: Sequence[int], hint: str = _OTHER_MODEL) -> None:
    if not fits:
        raise CheckpointError(
            f"{tensor.name[:120]} has the wrong shape", where=tensor.file.where, expected=tuple(expected),
            found=tensor.shape, hint=hint,
        )  # fmt: skip


def _float32(entry: Entry) -> NDArray[np.float32]:
    return entry.read().astype(np.float32, copy=False)
