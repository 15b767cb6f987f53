"""Where decoded samples are kept, and temporary files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import FileIO
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE, ArrayWaveform, Waveform
from whisper_max.errors import AudioError

OnDecoded: TypeAlias = "Callable[[float], object]"
"""Called with the seconds decoded so far, after each block; what it raises ends the decoding."""


class SpooledWaveform:
    """A waveform in a file of raw float32 samples, read piece by piece, so that hours of audio cost no memory.

    Args:
        file: an open binary file; it is not closed here.
        n_samples: how many samples it holds.
        warnings: what was found while they were decoded.
    """

    def __init__(self, file: BinaryIO, n_samples: int, warnings: Sequence[AudioWarning] = ()) -> None:
        self._file = file
        self._n_samples = n_samples
        self.warnings = warnings

    @property
    def n_samples(self) -> int:
        return self._n_samples

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples ``start`` to ``stop``, read from the file.

        Raises:
            AudioError: the file is shorter than it was, or can't be read.
        """
        start = min(max(start, 0), self._n_samples)
        stop = min(max(stop, start), self._n_samples)
        wanted = (stop - start) * SAMPLE_BYTES
        pieces: list[bytes] = []
        position = start * SAMPLE_BYTES
        while wanted > 0:
            piece = self._pread(wanted, position)
            pieces.append(piece)
            position += len(piece)
            wanted -= len(piece)
        return np.frombuffer(b"".join(pieces), np.float32)

    def _pread(self, n_bytes: int, position: int) -> bytes:
        try:
            piece = os.pread(self._file.fileno(), n_bytes, position)
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            raise AudioError("decoded samples can't be read back from the temporary file", found=error) from error
        if not piece:
            raise AudioError("the temporary file of decoded samples became shorter", where=f"byte {position}")
        return piece


@dataclass
class Spool:
    """Where decoded samples are kept: in memory, or on disk as soon as they are many.

    stack: closes the file. on_decoded: is told how many seconds there are. in_memory: most samples kept in memory.
    warnings: what is found in the recording while it is decoded; the waveform has them. n_samples: so far.
    """

    stack: ExitStack
    on_decoded: OnDecoded | None
    in_memory: int
    warnings: list[AudioWarning] = field(default_factory=list)
    n_samples: int = 0

    def gather(self, pieces: Iterator[NDArray[np.float32]], where: str) -> Waveform:
        """Keep all pieces."""
        pieces = self.watched(pieces)
        kept: list[NDArray[np.float32]] = []
        n_samples = 0
        for piece in pieces:
            kept.append(piece)
            n_samples += len(piece)
            if n_samples > self.in_memory:
                return self._to_disk(kept, pieces, where)
        return ArrayWaveform(np.concatenate(kept) if kept else np.zeros(0, np.float32), self.warnings)

    def gather_channels(self, pieces: Iterator[NDArray[np.float32]], where: str) -> list[Waveform]:
        """Keep all pieces, (n, n_channels) each, a waveform for each channel; in memory are no more samples in all."""
        pieces = self.watched(pieces)
        kept: list[NDArray[np.float32]] = []
        n_kept = 0
        for piece in pieces:
            kept.append(piece)
            n_kept += piece.size
            if n_kept > self.in_memory:
                return self._channels_to_disk(kept, pieces, where)
        if not kept:
            return []
        return [ArrayWaveform(samples, self.warnings) for samples in np.concatenate(kept).T.copy()]

    def watched(self, pieces: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The pieces as they come, counted."""
        for piece in pieces:
            self.n_samples += len(piece)
            self.watch()
            yield piece

    def watch(self) -> None:
        """Tell how many seconds there are, between blocks and while the file is looked through."""
        if self.on_decoded is not None:
            self.on_decoded(self.n_samples / SAMPLE_RATE)

    def _to_disk(self, first: list[NDArray[np.float32]], rest: Iterator[NDArray[np.float32]], where: str) -> Waveform:
        file = temporary_file(self.stack, where)
        n_samples = 0
        for pieces in (first, rest):
            for piece in pieces:
                _write(file, piece, where)
                n_samples += len(piece)
        first.clear()
        return SpooledWaveform(file, n_samples, self.warnings)

    def _channels_to_disk(
        self, first: list[NDArray[np.float32]], rest: Iterator[NDArray[np.float32]], where: str
    ) -> list[Waveform]:
        files = [temporary_file(self.stack, where) for _ in range(first[0].shape[1])]
        n_samples = 0
        for pieces in (first, rest):
            for piece in pieces:
                for file, channel in zip(files, piece.T, strict=True):
                    _write(file, channel, where)
                n_samples += len(piece)
        first.clear()
        return [SpooledWaveform(file, n_samples, self.warnings) for file in files]


def temporary_file(stack: ExitStack, where: str) -> FileIO:
    """A file that vanishes with the stack.

    Raises:
        AudioError: there is no room for one; ``where`` is the recording that needs it.
    """
    try:
        return stack.enter_context(tempfile.TemporaryFile(buffering=0, prefix="whisper_max-"))
    except OSError as error:
        raise AudioError(
            "no temporary file", where=where, found=error.strerror, hint="set TMPDIR to a folder with free space"
        ) from error


def write_all(file: FileIO, content: bytes) -> None:
    """Write all bytes.

    Raises:
        OSError: the disk refuses them.
    """
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _write(file: FileIO, piece: NDArray[np.float32], where: str) -> None:
    try:
        write_all(file, piece.tobytes())
    except OSError as error:
        raise AudioError(
            "decoded samples can't be written to a temporary file",
            where=where,
            found=error.strerror,
            hint="set TMPDIR to a folder with free space",
        ) from error
