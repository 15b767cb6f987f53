"""Compiled graphs as files: what names them, and how they are written and trusted.

An artifact is named by everything it depends on: dimensions, dtype, target, MAX version, and the digest of the graphs
with the code of their kernels. Weights are not part of it. On disk it is a magic number, the SHA-256 of what follows,
and MAX's own format compressed.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from importlib.metadata import version
from pathlib import Path

from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.errors import ArtifactError
from whisper_max.files.atomic import whole_file
from whisper_max.model.digest import FAST, Graphs
from whisper_max.model.panels import PANEL, n_panels

MAGIC = b"WMAXART1"
_DIGEST_SIZE = hashlib.sha256().digest_size
SHIPPED = Path(__file__).parent / "artifacts"


@dataclass(frozen=True)
class ArtifactKey:
    """What a compiled module depends on."""

    dims: ModelDimensions
    dtype: DType  # of activations
    storage: DType  # of the matrices of linear layers
    code: str  # a Target's
    max_version: str
    digest: str  # of the graphs, as in ``Graphs.digest``

    @property
    def graphs(self) -> Graphs:
        return graphs_for(self.dims, self.dtype, self.storage, self.code)

    @property
    def file_name(self) -> str:
        """A name that people can read, ending in the digest of the whole key."""
        dims = self.dims
        parts = [str(part) for part in astuple(self)]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        size = f"{dims.n_audio_state}x{dims.n_audio_layer}-{dims.n_text_state}x{dims.n_text_layer}"
        kind = f"{self.dtype.name}-{self.storage.name}-{self.code.replace(':', '-')}"
        return f"{size}-{dims.n_vocab}-{dims.n_mels}-{kind}-{digest}.wmx"


def graphs_for(dims: ModelDimensions, dtype: DType, storage: DType, code: str) -> Graphs:
    """What has to be compiled for a model on a target.

    On a CPU the vocabulary's matrix is filled up to whole panels, and models that differ by less share an artifact.

    Args:
        dims: the model's.
        dtype: of activations.
        storage: of the matrices of linear layers.
        code: a Target's.
    """
    kind, _, rest = code.partition(":")
    if kind == "cpu":
        dims = replace(dims, n_vocab=n_panels(dims.n_vocab) * PANEL)
    return Graphs(dims, dtype, storage, kind, rest.endswith(f":{FAST}"))


def artifact_key(
    dims: ModelDimensions, dtype: DType, storage: DType, code: str, folders: Iterable[Path] = (SHIPPED,)
) -> ArtifactKey:
    """The key of the artifact that this version of the code needs; arguments as for ``graphs_for``.

    folders: where digests of graphs may be listed, which saves building them.
    """
    graphs = graphs_for(dims, dtype, storage, code)
    return ArtifactKey(graphs.dims, dtype, storage, code, version("max-core"), graphs.digest(folders))


def read_artifact(path: Path) -> bytes:
    """The compiled module in MAX's format.

    Raises:
        ArtifactError: the file can't be read, or is not whole.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError("can't be read", where=path, found=error.strerror) from error
    start = len(MAGIC) + _DIGEST_SIZE
    if data[: len(MAGIC)] != MAGIC:
        raise ArtifactError("not a compiled artifact of whisper_max", where=path)
    if hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        raise ArtifactError("the compiled artifact is damaged", where=path, hint="delete it")
    try:
        return lzma.decompress(data[start:])
    except lzma.LZMAError as error:
        raise ArtifactError("the compiled artifact is damaged", where=path, found=error, hint="delete it") from error


def _filter(size: int) -> dict[str, int]:
    """xz at its best, with a dictionary as large as the module: its graphs repeat each other from end to end."""
    dictionary = min(max(size, 1 << 12), 1 << 26)  # what xz takes, and its largest preset's
    return {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}


def write_artifact(path: Path, module: bytes) -> None:
    """Write a compiled module so that no reader ever sees a part of it.

    Raises:
        ArtifactError: the folder or the file can't be written.
    """
    payload = lzma.compress(module, filters=[_filter(len(module))])
    try:
        with whole_file(path) as file:
            file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        hint = "free some space, or set WHISPER_MAX_CACHE to another folder"
        raise ArtifactError("can't be written", where=path, found=error.strerror, hint=hint) from error
