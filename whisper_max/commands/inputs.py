"""What ``transcribe`` is to work on: files, folders and patterns, and where their transcripts and journals go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path

from whisper_max.errors import AudioError, WhisperMaxError
from whisper_max.files.cache import cache_dir
from whisper_max.files.remote import (
    WEB,
    Place,
    RemotePath,
    find_below,
    is_folder,
    is_remote,
    local_path,
    modified,
    place,
    scheme,
    shown_source,
    size_of,
    source_name,
)
from whisper_max.output import numbered_inputs, output_paths

STDIN = "-"
JOURNAL = "journal.jsonl"  # what the names of journals end with

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".voc", ".gsm"),
    *(".flac", ".wv", ".tta", ".ape", ".dsf", ".mp3", ".mp2", ".mpga", ".ogg", ".oga", ".ogv", ".opus", ".spx"),
    *(".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".aac", ".ac3", ".eac3", ".dts"),
    *(".amr", ".awb", ".wma", ".wmv", ".asf", ".webm", ".weba", ".mka", ".mkv", ".avi", ".flv", ".mxf", ".rm"),
    *(".mpg", ".mpeg", ".vob", ".ts", ".m2ts", ".mts"),
)
"""Of the files that are taken from a folder, in lower case; a file that is named is taken whatever its name."""

_SHARED_SUFFIXES = (".ts", ".mts")  # transport streams have them, and programs in TypeScript
_SYNC = b"\x47"  # with which a packet of a transport stream begins, in .mts behind four bytes


@dataclass(frozen=True)
class Input:
    """One recording to transcribe.

    source: its path or URL, or ``-``. transcripts: a place for each format. journal: the path of its journal, on this
    machine also where the transcripts are to go elsewhere.
    numbered: its transcripts' names depend on the other inputs and their order, so they may be another recording's.
    """

    source: str
    transcripts: Mapping[str, Place]
    journal: Path
    numbered: bool = False

    @property
    def name(self) -> str:
        """The source as messages have it."""
        return shown_source(self.source)

    @property
    def size(self) -> int:
        """Bytes; 1 where that is not known."""
        try:
            return max((size_of(self.source) or 1) if is_remote(self.source) else os.path.getsize(self.source), 1)
        except (OSError, ValueError):  # it is missing, or no file name at all: transcribing will tell
            return 1

    def is_done(self) -> bool:
        """True where every transcript is there and newer than the recording, and no journal waits to be finished."""
        if self.numbered:
            return False
        try:
            changed = _changed(self.source)
            written = [_changed(path) for path in self.transcripts.values()]
        except (OSError, ValueError):
            return False
        if changed is None or os.path.exists(self.journal):
            return False
        return all(time is not None and time > changed for time in written)


def _changed(path: str | Place) -> int | None:
    """When a file was last changed, in ns; None where its store doesn't say."""
    uri = path.uri if isinstance(path, RemotePath) else os.fspath(path)
    if not is_remote(uri):
        return os.stat(uri).st_mtime_ns
    seconds = modified(uri)
    return None if seconds is None else round(seconds * 1e9)


def find_recordings(
    inputs: Sequence[str], output_dir: str | os.PathLike[str] | RemotePath, formats: Sequence[str]
) -> tuple[list[Input], list[WhisperMaxError]]:
    """The recordings that the inputs name, each once, and an error for each input that names none, and for each
    recording whose transcript would replace one.

    A folder, also one of a store by its URL, stands for the audio files in it and below it, sorted; a pattern (``*``,
    ``?``, ``[]``, ``**``) for what it matches; both for regular files only. Their transcripts keep the folders:
    ``talks/may/a.wav`` of ``talks`` goes to ``OUTPUT_DIR/may``. A folder below that can't be read is an error, and the
    rest of the folder is taken.
    """
    found: dict[str, tuple[str, Path]] = {}  # by identity: source, folder of its transcripts
    errors: list[WhisperMaxError] = []
    for word in inputs:
        try:
            for source, folder in _expand(word, errors):
                found.setdefault(_identity(source), (source, folder))
        except AudioError as error:
            errors.append(error)
    sources_in: dict[Path, list[str]] = {}
    for source, folder in found.values():
        sources_in.setdefault(folder, []).append(source)
    paths: dict[str, dict[str, Place]] = {}
    for folder, sources in sources_in.items():
        paths |= output_paths(sources, place(output_dir) / folder, [*formats, JOURNAL])
    recordings = []
    for source, folder in found.values():
        if replaced := [path for path in paths[source].values() if _identity(_address(path)) in found]:
            hint = "choose another folder with --output_dir"
            errors.append(
                AudioError(
                    "the transcript would replace a recording", where=shown_source(source), found=replaced[0], hint=hint
                )
            )
            continue
        recordings.append(_recording(source, paths[source], numbered_inputs(sources_in[folder])))
    return recordings, errors


def _recording(source: str, paths: dict[str, Place], numbered: set[str]) -> Input:
    transcripts = dict(paths)
    journal = _local_journal(transcripts.pop(JOURNAL))
    return Input(source, journal=journal, transcripts=transcripts, numbered=source in numbered)


def _local_journal(path: Place) -> Path:
    """A journal's path: a store can't append to it, so for one it is in the cache folder."""
    if not isinstance(path, RemotePath):
        return path
    return cache_dir() / "journals" / f"{hashlib.sha256(path.uri.encode()).hexdigest()[:32]}.{JOURNAL}"


def _address(path: Place) -> str:
    return path.uri if isinstance(path, RemotePath) else str(path)


def _identity(source: str) -> str:
    """The same for every path that leads to a file, also through links to folders; not for another link to the file."""
    if source == STDIN:
        return STDIN
    if is_remote(source):
        return source
    folder, name = os.path.split(os.path.abspath(source))
    return os.path.join(os.path.realpath(folder), name)


def _expand(word: str, errors: list[WhisperMaxError]) -> Iterator[tuple[str, Path]]:
    """What an input stands for: sources, and for each the folder below the output folder.

    Args:
        word: the input.
        errors: takes one for each folder that can't be read.
    """
    if is_remote(word):
        yield from _expand_remote(word)
        return
    word = local_path(word)
    if word == STDIN or not (os.path.isdir(word) or has_magic(word)) or os.path.isfile(word):
        yield word, Path()
        return
    if os.path.isdir(word):
        matches, root, kind = [word], Path(word), "audio files in this folder"
    else:
        matches, root, kind = sorted(glob(word, recursive=True)), _fixed_part(word), "files match"
    # By the shortest path: where a folder links to one above it, a pattern finds a file again and again.
    n_errors = len(errors)
    paths = sorted((source for match in matches for source in _files(match, errors)), key=len, reverse=True)
    sources = sorted({_identity(source): source for source in paths}.values())
    if not sources and len(errors) == n_errors:
        raise AudioError(f"no {kind}", where=word)
    for source in sources:
        yield source, Path(source).parent.relative_to(root)


def _expand_remote(word: str) -> Iterator[tuple[str, Path]]:
    pattern = scheme(word) not in WEB and has_magic(word)
    try:
        if not pattern and not is_folder(word):
            yield word, Path()
            return
        found = [each.uri for each in find_below(word) if pattern or _is_audio(each.uri)]
    except OSError as error:
        raise AudioError("can't be listed", where=shown_source(word), found=error.strerror or error) from error
    if not found:
        raise AudioError(f"no {'files match' if pattern else 'audio files in this folder'}", where=shown_source(word))
    root = _fixed_part(word)
    for source in found:
        yield source, Path(source).parent.relative_to(root)


def _is_audio(name: str) -> bool:
    """Whether a file of a folder is taken; hidden ones never are."""
    name = source_name(name)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def _fixed_part(pattern: str) -> Path:
    """The folder before the first wildcard of a pattern."""
    return Path(*takewhile(lambda part: not has_magic(part), Path(pattern).parts))


def _files(path: str, errors: list[WhisperMaxError]) -> list[str]:
    """The file itself, or the audio files in a folder and below it, without hidden ones.

    Nothing that exists and is no regular file: to open a named pipe waits for whoever may write into it.
    """

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # it went away while its folder was read
            errors.append(AudioError("the folder can't be read", where=error.filename, found=error.strerror))

    if not os.path.isdir(path):
        return [] if _is_special(path) else [path]
    found = []
    for folder, folders, names in os.walk(path, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(folder, name) for name in names if _is_audio(name)]
    return sorted(source for source in found if not _is_special(source) and not _is_program(source))


def _is_special(path: str) -> bool:
    """A pipe, a socket or a device; a link that leads nowhere is none, and transcribing will tell."""
    return os.path.exists(path) and not os.path.isfile(path)


def _is_program(path: str) -> bool:
    """True for a text that has a suffix of recordings; where it can't be read, transcribing will tell."""
    if not path.lower().endswith(_SHARED_SUFFIXES):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(5)
    except OSError:
        return False
    return _SYNC not in (head[:1], head[4:])
