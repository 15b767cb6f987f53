"""Bundles: a model, its compiled graphs and their hashes in one folder, to run with no compiler and no network.

A bundle holds ``model.safetensors`` (weights, dims, vocabulary and alignment heads in our own format), ``artifacts/``
(compiled graphs, one file for each target, and a list of their digests) and ``bundle.json`` (what the rest is, and the
SHA-256 of every file).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whisper_max.checkpoint import Checkpoint, ModelFiles
from whisper_max.checkpoint.checksum import sha256_of, verify
from whisper_max.checkpoint.files import OWN, KnownDigest
from whisper_max.checkpoint.own_format import OwnModel, write_own_format
from whisper_max.compile.artifact import ArtifactKey, artifact_key
from whisper_max.compile.build import Build, Storage, builds, module_for
from whisper_max.dims import ModelDimensions, check_dims
from whisper_max.engine.weights import quantized
from whisper_max.errors import ArtifactError, CheckpointError, OptionError, brief
from whisper_max.files.atomic import whole_file
from whisper_max.hardware.processors import cpu_codes, missing_features
from whisper_max.hardware.target import Target
from whisper_max.model.digest import LIST, list_graphs
from whisper_max.version import VERSION

MANIFEST, WEIGHTS, ARTIFACTS = "bundle.json", "model.safetensors", "artifacts"
FORMAT, FORMAT_VERSION = "whisper_max bundle", 2
Report = Callable[[str], object]


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest was read; its files are checked by ``files`` and ``artifacts_for``."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def kinds(self) -> set[str]:
        """The kinds of device that it has compiled graphs for: "cpu", "gpu"."""
        return {entry["code"].partition(":")[0] for entry in self.manifest["artifacts"]}

    @property
    def compute_type(self) -> str:
        """What it was made with: "auto" or a compute type."""
        return str(self.manifest["compute_type"])

    def files(self) -> ModelFiles:
        """The model's files, to be read as any checkpoint; reading checks the digest."""
        path = self.folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError("the bundle lacks its weights", where=path, hint="copy the bundle again")
        check = KnownDigest((path,), self._sha256(WEIGHTS), "copy the bundle again")
        return ModelFiles(OWN, (path,), checks=(check,))

    def artifacts_for(self, target: Target) -> Path:
        """The folder of compiled graphs, once it is sure that it has whole ones for this target.

        Raises:
            ArtifactError: made by another version of whisper_max or MAX, for other processors, or damaged.
        """
        self._check_max()
        fitting = [
            entry
            for entry in self.manifest["artifacts"]
            if entry["code"] in target.codes
            and entry["dtype"] == target.dtype.name
            and (entry["storage"] != "int8" if target.storage is None else entry["storage"] == target.storage.name)
        ]
        if not fitting:
            raise self._nothing_for(target)
        for entry in fitting:
            self._check_graphs(entry, target)
            name = entry["file"]
            path = self.folder / name
            if not path.is_file():
                raise ArtifactError("the bundle lacks compiled graphs", where=path, hint="copy the bundle again")
            try:
                verify([path], self._sha256(name))
            except CheckpointError as error:
                raise ArtifactError(
                    "the compiled graphs are damaged", where=path, expected=error.expected, found=error.found,
                    hint="copy the bundle again",
                ) from error  # fmt: skip
        return self.folder / ARTIFACTS

    def _sha256(self, name: str) -> str:
        return str(self.manifest["files"][name]["sha256"])

    def _check_max(self) -> None:
        from importlib.metadata import version

        self._check_version("MAX", expected=version("max-core"), found=self.manifest["max"])

    def _check_graphs(self, entry: dict[str, Any], target: Target) -> None:
        dims, storage = ModelDimensions(**self.manifest["dims"]), Storage.__members__[entry["storage"]]
        key = artifact_key(dims, target.dtype, storage, entry["code"], [self.folder / ARTIFACTS])
        brief = [f"graphs {digest[:12]}" for digest in (key.digest, entry["graphs"])]
        self._check_version("whisper_max", expected=brief[0], found=brief[1])

    def _check_version(self, what: str, expected: str, found: str) -> None:
        if found != expected:
            raise ArtifactError(
                f"the bundle was made for another version of {what}", where=self.folder, expected=expected, found=found,
                hint="install that version, or export the bundle again",
            )  # fmt: skip

    def _nothing_for(self, target: Target) -> ArtifactError:
        """What is there, and what this machine lacks for it."""
        entries = self.manifest["artifacts"]
        wanted = "as they are" if target.storage is None else target.storage.name
        there = ", ".join(f"{entry['code']} ({entry['storage']})" for entry in entries)
        lacking = {code: missing_features(code) for code in dict.fromkeys(entry["code"] for entry in entries)}
        reasons = [f"this processor has no {' '.join(names)} for {code}" for code, names in lacking.items() if names]
        return ArtifactError(
            "the bundle has no compiled graphs that run here", where=self.folder,
            expected=f"{' or '.join(target.codes)}, weights {wanted}", found=there,
            hint="; ".join([*reasons, "export it with --target for this machine and the same --compute_type"]),
        )  # fmt: skip


def read_bundle(model: str | Path) -> Bundle | None:
    """The bundle in a folder, or None where ``model`` is no folder with a bundle's manifest.

    Raises:
        CheckpointError: the manifest is damaged, of another kind or of another version of the format.
    """
    folder = Path(os.path.expanduser(model))
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        stated = (manifest["format"], manifest["version"])
        if stated[0] == FORMAT and stated[1] != FORMAT_VERSION:
            raise CheckpointError(
                "another version of the format", where=path, expected=FORMAT_VERSION, found=brief(stated[1]),
                hint="export the bundle again",
            )  # fmt: skip
        check_dims(ModelDimensions(**manifest["dims"]), path)
        complete = (
            stated[0] == FORMAT
            and all(isinstance(manifest[key], str) for key in ("max", "compute_type"))
            and isinstance(manifest["files"][WEIGHTS]["sha256"], str)
            and all(_is_entry(entry, manifest["files"]) for entry in manifest["artifacts"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError("the bundle's manifest is damaged", where=path, found=repr(error)[:80]) from error
    if not complete:
        raise CheckpointError("not the manifest of a bundle", where=path)
    return Bundle(folder, manifest)


def _is_entry(entry: dict[str, Any], files: dict[str, Any]) -> bool:
    name = entry["file"]
    inside = Path(name).parent == Path(ARTIFACTS) and ".." not in Path(name).parts
    strings = all(isinstance(entry[key], str) for key in ("code", "dtype", "storage", "compute_type", "graphs"))
    known = entry["storage"] in Storage.__members__
    return inside and strings and known and isinstance(files[name]["sha256"], str)


def write_bundle(
    checkpoint: Checkpoint, folder: Path, targets: Sequence[str], compute_type: str, storage: Storage, report: Report
) -> None:
    """Make a bundle; the manifest comes last, so a folder that was not finished is no bundle.

    Args:
        checkpoint: the model.
        folder: a new or empty folder, or one with a bundle, which is replaced.
        targets: as ``target_code`` takes them; none is this machine's processor.
        compute_type: as ``load_model`` takes it, for all targets.
        storage: what holds the checkpoint's matrices where the compute type leaves that open.
        report: called with a line for people at each step.

    Raises:
        OptionError: an unknown target, a compute type that one doesn't offer, or a folder with other files.
        ArtifactError: compiling failed, or a file can't be written.
    """
    wanted = builds(checkpoint.dims, targets or cpu_codes()[-1:], compute_type, storage)
    _clear(folder)
    modules = [(build, _place(folder, build, module_for(build.key, report))) for build in wanted]
    _list(folder, wanted)
    weights = folder / WEIGHTS
    report(f"writing {weights}")
    model = OwnModel(
        checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, checkpoint.alignment_heads, checkpoint.name
    )
    int8 = all(build.key.storage.name == "int8" for build in wanted)
    try:
        write_own_format(weights, model, quantized if int8 else None)
        manifest = _manifest(checkpoint, folder, modules, compute_type)
        with whole_file(folder / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=1).encode() + b"\n")
    except OSError as error:
        raise ArtifactError("can't be written", where=folder, found=error.strerror or error) from error


def _clear(folder: Path) -> None:
    """Remove an older bundle; anything else is not ours to remove."""
    others = [path.name for path in folder.glob("*") if path.name not in (MANIFEST, WEIGHTS, ARTIFACTS)]
    if folder.is_file() or others:
        found = ", ".join(sorted(others)[:4]) or "a file"
        raise OptionError("not an empty folder and not a bundle", where=folder, found=found)
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)


def _place(folder: Path, build: Build, module: Path) -> str:
    """Copy an artifact into the bundle; its name in it."""
    name = f"{ARTIFACTS}/{build.key.file_name}"
    try:
        with whole_file(folder / name) as file:
            file.write(module.read_bytes())
    except OSError as error:
        raise ArtifactError("can't be written", where=folder, found=error.strerror or error) from error
    return name


def _list(folder: Path, wanted: Sequence[Build]) -> None:
    try:
        list_graphs(folder / ARTIFACTS, {build.key.graphs.name: build.key.digest for build in wanted})
    except OSError as error:
        raise ArtifactError("can't be written", where=folder, found=error.strerror or error) from error


def _manifest(
    checkpoint: Checkpoint, folder: Path, modules: Sequence[tuple[Build, str]], compute_type: str
) -> dict[str, Any]:
    key: ArtifactKey = modules[0][0].key
    names = [WEIGHTS, f"{ARTIFACTS}/{LIST}", *(name for _, name in modules)]
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "whisper_max": VERSION,
        "max": key.max_version,
        "name": checkpoint.name,
        "dims": asdict(checkpoint.dims),
        "alignment_heads": checkpoint.alignment_heads,
        "compute_type": compute_type,
        "artifacts": [
            {
                "file": name,
                "target": build.target,
                "code": build.key.code,
                "dtype": build.key.dtype.name,
                "storage": build.key.storage.name,
                "compute_type": compute_type,
                "graphs": build.key.digest,
            }
            for build, name in modules
        ],
        "files": {
            name: {"sha256": sha256_of([folder / name]), "size": (folder / name).stat().st_size} for name in names
        },
    }
