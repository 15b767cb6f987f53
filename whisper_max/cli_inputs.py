"""What ``transcribe`` is to work on: files, folders and patterns, and where their transcripts and journals go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path

from whisper_max.errors import AudioError, WhisperMaxError
from whisper_max.output import numbered_inputs, output_paths

STDIN = "-"
JOURNAL = "journal.jsonl"  # what the names of journals end with

AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".au", ".caf", ".w64"),
    *(".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".3gp", ".aac", ".ac3", ".amr", ".wma", ".wmv"),
    *(".webm", ".mka", ".mkv", ".avi", ".mpg", ".mpeg"),
)
"""Of the files that are taken from a folder, in lower case; a file that is named is taken whatever its name."""


@dataclass(frozen=True)
class Recording:
    """One recording to transcribe.

    source: its path, or ``-``. transcripts: a path for each format. journal: the path of its journal.
    numbered: its transcripts' names depend on the other inputs and their order, so they may be another recording's.
    """

    source: str
    transcripts: dict[str, Path]
    journal: Path
    numbered: bool = False

    @property
    def size(self) -> int:
        """Bytes; 1 where that is not known."""
        try:
            return max(os.path.getsize(self.source), 1)
        except (OSError, ValueError):  # it is missing, or no file name at all: transcribing will tell
            return 1

    def is_done(self) -> bool:
        """True where every transcript is there and newer than the recording, and no journal waits to be finished."""
        if self.numbered:
            return False
        try:
            changed = os.stat(self.source).st_mtime_ns
            written = [path.stat().st_mtime_ns for path in self.transcripts.values()]
        except (OSError, ValueError):
            return False
        return all(time > changed for time in written) and not self.journal.exists()


def find_recordings(
    inputs: Sequence[str], output_dir: str | os.PathLike[str], formats: Sequence[str]
) -> tuple[list[Recording], list[WhisperMaxError]]:
    """The recordings that the inputs name, each once, and an error for each input that names none, and for each
    recording whose transcript would replace one.

    A folder stands for the audio files in it and below it, sorted; a pattern (``*``, ``?``, ``[]``, ``**``) for what
    it matches. Their transcripts keep the folders: ``talks/may/a.wav`` of ``talks`` goes to ``OUTPUT_DIR/may``.
    """
    found: dict[str, tuple[str, Path]] = {}  # by identity: source, folder of its transcripts
    errors: list[WhisperMaxError] = []
    for word in inputs:
        try:
            for source, folder in _expand(word):
                found.setdefault(_identity(source), (source, folder))
        except AudioError as error:
            errors.append(error)
    sources_in: dict[Path, list[str]] = {}
    for source, folder in found.values():
        sources_in.setdefault(folder, []).append(source)
    paths: dict[str, dict[str, Path]] = {}
    for folder, sources in sources_in.items():
        paths |= output_paths(sources, Path(output_dir) / folder, [*formats, JOURNAL])
    recordings = []
    for source, folder in found.values():
        if replaced := [path for path in paths[source].values() if _identity(str(path)) in found]:
            hint = "choose another folder with --output_dir"
            errors.append(
                AudioError("the transcript would replace a recording", where=source, found=replaced[0], hint=hint)
            )
            continue
        recordings.append(_recording(source, paths[source], numbered_inputs(sources_in[folder])))
    return recordings, errors


def _recording(source: str, paths: dict[str, Path], numbered: set[str]) -> Recording:
    transcripts = dict(paths)
    return Recording(source, journal=transcripts.pop(JOURNAL), transcripts=transcripts, numbered=source in numbered)


def _identity(source: str) -> str:
    """The same for every path that leads to a file, also through links to folders; not for another link to the file."""
    if source == STDIN:
        return STDIN
    folder, name = os.path.split(os.path.abspath(source))
    return os.path.join(os.path.realpath(folder), name)


def _expand(word: str) -> Iterator[tuple[str, Path]]:
    """What an input stands for: sources, and for each the folder below the output folder."""
    if word == STDIN or not (os.path.isdir(word) or has_magic(word)) or os.path.isfile(word):
        yield word, Path()
        return
    if os.path.isdir(word):
        matches, root, kind = [word], Path(word), "audio files in this folder"
    else:
        matches, root, kind = sorted(glob(word, recursive=True)), _fixed_part(word), "files match"
    # By the shortest path: where a folder links to one above it, a pattern finds a file again and again.
    paths = sorted((source for match in matches for source in _files(match)), key=len, reverse=True)
    sources = sorted({_identity(source): source for source in paths}.values())
    if not sources:
        raise AudioError(f"no {kind}", where=word)
    for source in sources:
        yield source, Path(source).parent.relative_to(root)


def _fixed_part(pattern: str) -> Path:
    """The folder before the first wildcard of a pattern."""
    return Path(*takewhile(lambda part: not has_magic(part), Path(pattern).parts))


def _files(path: str) -> list[str]:
    """The file itself, or the audio files in a folder and below it, without hidden ones."""
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path, onerror=_raise_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(folder, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES
        ]
    return sorted(found)


def _raise_unreadable(error: OSError) -> None:
    raise AudioError("the folder can't be read", where=error.filename, found=error.strerror) from error
