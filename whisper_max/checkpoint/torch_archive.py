"""A PyTorch file: one pickle and the raw storages it refers to, read without PyTorch.

They are the entries of a zip archive; before torch 1.6 they followed each other in a file without one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path

from whisper_max.checkpoint.stored_zip import StoredZip
from whisper_max.checkpoint.tensors import ITEM_SIZE, InFile, StoredTensor, StridedTensor
from whisper_max.checkpoint.torch_legacy import LegacyFile, is_legacy
from whisper_max.checkpoint.torch_pickle import PickledTensor, load_torch_pickle
from whisper_max.errors import CheckpointError

_MOST_PICKLE_BYTES = 4 << 20  # large-v3's is 0.3 MB


class TorchArchive:
    """The tensors of a PyTorch file.

    Raises:
        CheckpointError: no sound file of PyTorch's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = LegacyFile(path) if is_legacy(path) else _Zip(path)

    def content(self, unread: Collection[tuple[str, str]] = ()) -> object:
        """What the pickle holds; see ``load_torch_pickle``."""
        return self._entries.content(unread)

    def check(self) -> None:
        """Compare all that it holds with its checksums, where it has some, which reads it whole.

        Raises:
            CheckpointError: it is damaged.
        """
        self._entries.check()

    def tensors(self, state: Mapping[str, object]) -> dict[str, InFile]:
        """The tensors of a state dict that the pickle holds, each where it lies.

        Raises:
            CheckpointError: the state dict holds more than tensors, or one leaves its storage.
        """
        stored = {}
        for name, tensor in state.items():
            if not isinstance(tensor, PickledTensor) or not isinstance(name, str):
                found = f"a {type(tensor).__name__}" if isinstance(name, str) else f"a tensor called {name}"
                raise CheckpointError("the state dict holds more than tensors", where=self.path, found=found)
            stored[name] = self._locate_tensor(name, tensor)
        return stored

    def _locate_tensor(self, name: str, tensor: PickledTensor) -> InFile:
        storage = tensor.storage
        offset, size = self._entries.locate(storage.key)
        item = ITEM_SIZE.get(storage.dtype, 0)
        contiguous = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
        axes = zip(tensor.shape, tensor.stride, contiguous, strict=True)
        is_strided = any(size > 1 and stride != expected for size, stride, expected in axes)
        n_needed = tensor.offset + (0 if is_strided else math.prod(tensor.shape))
        if item and (size != storage.count * item or n_needed * item > size):
            raise CheckpointError(
                f"{name[:80]} leaves its storage",
                where=self.path,
                expected=f"{storage.count} elements",
                found=f"{size} bytes",
            )
        if is_strided:
            whole = StoredTensor(self._entries.file, name, offset, storage.dtype, (storage.count,))
            return StridedTensor(whole, tensor.shape, tensor.stride, tensor.offset)
        return StoredTensor(self._entries.file, name, offset + tensor.offset * item, storage.dtype, tensor.shape)


class _Zip:
    """The entries of a zip archive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zip = StoredZip(path)
        self.file = self._zip.file
        pickles = [name for name in self._zip.entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError("not a PyTorch archive", where=path, expected="one data.pkl", found=len(pickles))
        self._prefix = pickles[0].removesuffix("data.pkl")
        byteorder = f"{self._prefix}byteorder"
        if byteorder in self._zip.entries and self._zip.bytes_of(byteorder, 16) != b"little":
            raise CheckpointError("not little-endian", where=path)

    def content(self, unread: Collection[tuple[str, str]]) -> object:
        pickled = self._zip.bytes_of(f"{self._prefix}data.pkl", _MOST_PICKLE_BYTES)
        return load_torch_pickle(BytesIO(pickled), self._path, unread)

    def locate(self, key: str) -> tuple[int, int]:
        return self._zip.locate(f"{self._prefix}data/{key}")

    def check(self) -> None:
        self._zip.check()
