"""What ``batch`` is to work on: manifests, folders, patterns, files and URLs; each recording once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from whisper_max.batch.job import Item
from whisper_max.commands.inputs import STDIN, find_recordings
from whisper_max.errors import AudioError, OptionError, WhisperMaxError
from whisper_max.files.remote import Place, RemotePath, is_remote, local_path, place, scheme, shown_source
from whisper_max.output import numbered_inputs, output_paths
from whisper_max.text.languages import language_code

SUFFIXES = (".jsonl", ".txt")
"""Of manifests: a JSON object with ``path`` a line, or a path or URL a line."""
_KEYS = ("path", "language", "output")


@dataclass(frozen=True)
class Listed:
    """A line of a manifest: where it is, the recording's path or URL, its language, and the name of its transcripts."""

    where: str
    source: str
    folder: PurePosixPath
    language: str | None = None
    name: str | None = None


def find_items(
    words: Sequence[str], output: Place, formats: Sequence[str]
) -> tuple[list[Item], list[WhisperMaxError], int]:
    """The recordings that the words of a command name.

    Args:
        words: manifests, folders, patterns, files and URLs.
        output: the folder of the transcripts.
        formats: of the transcripts.

    Returns:
        the recordings; an error for each line and word that names none, and for each recording whose transcript would
        replace another's; how many were named more than once.
    """
    errors: list[WhisperMaxError] = []
    listed: list[Listed] = []
    plain: list[str] = []
    for word in words:
        if word == STDIN:
            errors.append(OptionError("standard input is for transcribe, not for batch", where=STDIN))
        elif PurePosixPath(shown_source(word)).suffix.lower() in SUFFIXES:
            listed += _read(word, errors)
        else:
            plain.append(word if scheme(word) else os.path.abspath(word))
    found, wrong = find_recordings(plain, output, formats)
    errors += wrong
    named: list[tuple[str, dict[str, Place], str | None, str]] = [
        (each.source, dict(each.transcripts), None, shown_source(each.source)) for each in found
    ]
    for entry, transcripts in _transcripts(listed, output, formats):
        named.append((entry.source, transcripts, entry.language, entry.where))
    return _items(named, errors)


def _items(
    named: Iterable[tuple[str, dict[str, Place], str | None, str]], errors: list[WhisperMaxError]
) -> tuple[list[Item], list[WhisperMaxError], int]:
    """Each recording once, and no two with the same transcript."""
    items: dict[str, Item] = {}
    taken: dict[str, str] = {}  # by the path of a transcript, whose it is
    n_repeated = 0
    for source, places, language, where in named:
        if source in items:
            n_repeated += 1
            continue
        paths = {format: _address(path) for format, path in places.items()}
        if owner := next((taken[path] for path in paths.values() if path in taken), None):
            found = f"that of {owner}"
            hint = "give its line an output of its own"
            errors.append(OptionError("would write the same transcript", where=where, found=found, hint=hint))
            continue
        taken |= dict.fromkeys(paths.values(), shown_source(source))
        items[source] = Item(len(items), source, paths, language=language)
    return list(items.values()), errors, n_repeated


def _address(path: Place) -> str:
    return path.uri if isinstance(path, RemotePath) else os.path.abspath(path)


def _transcripts(
    listed: Sequence[Listed], output: Place, formats: Sequence[str]
) -> Iterable[tuple[Listed, dict[str, Place]]]:
    """Where the transcripts of a manifest's recordings go: to folders like theirs, or where their lines say."""
    by_folder: dict[PurePosixPath, list[str]] = {}
    for entry in listed:
        if entry.name is None:
            by_folder.setdefault(entry.folder, []).append(entry.source)
    paths: dict[PurePosixPath, dict[str, dict[str, Place]]] = {
        folder: output_paths(sources, output / folder, formats) for folder, sources in by_folder.items()
    }
    doubtful = {folder: numbered_inputs(sources) for folder, sources in by_folder.items()}
    for entry in listed:
        if entry.name is not None:
            yield entry, {format: output / f"{entry.name}.{format}" for format in formats}
        elif entry.source in doubtful[entry.folder]:  # the same name, by which no order must decide
            name = entry.folder / PurePosixPath(shown_source(entry.source)).name
            yield entry, {format: output / f"{name}.{format}" for format in formats}
        else:
            yield entry, paths[entry.folder][entry.source]


def _read(word: str, errors: list[WhisperMaxError]) -> list[Listed]:
    """The lines of a manifest; those that are none are errors."""
    shown = shown_source(word)
    try:
        manifest = place(word)
        lines = (
            manifest.read_bytes().decode("utf-8-sig").split("\n")
        )  # names may hold what else Unicode calls a line's end
    except (OSError, UnicodeDecodeError) as error:
        found = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror or error
        errors.append(AudioError("the manifest can't be read", where=shown, found=found))
        return []
    listed = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                listed.append(_listed(line.strip(), f"{shown}:{number}", word))
            except WhisperMaxError as error:
                errors.append(error)
    if lines == [""]:
        errors.append(AudioError("the manifest is empty", where=shown))
    return listed


def _listed(line: str, where: str, manifest: str) -> Listed:
    if not manifest.lower().split("?")[0].endswith(".jsonl"):
        return _entry({"path": line}, where, manifest)
    try:
        keys = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise OptionError("not JSON", where=where, found=error) from error
    if not isinstance(keys, dict):
        raise OptionError("not a JSON object", where=where, found=type(keys).__name__)
    return _entry(keys, where, manifest)


def _entry(keys: dict[str, object], where: str, manifest: str) -> Listed:
    for name in _KEYS:
        if not isinstance(keys.get(name), str | None):
            raise OptionError(f"{name} is not text", where=where, found=repr(keys[name])[:100])
    path, language, output = (str(keys.get(name) or "") for name in _KEYS)
    if not path:
        raise OptionError("no path", where=where, expected='a JSON object with "path"')
    if "\0" in path:
        raise OptionError("not a file name", where=where, found=repr(path)[:100])
    source, folder = _resolved(path, manifest)
    is_remote(source)  # refuses an unknown kind of URL
    code = None if not language else language_code(language, where=where)
    return Listed(where, source, folder, code, _safe(output, where) if output else None)


def _resolved(path: str, manifest: str) -> tuple[str, PurePosixPath]:
    """The recording of a line, relative to its manifest, and the folder of its transcripts below the output."""
    if scheme(path) is not None and scheme(path) != "file":
        shown = shown_source(path).partition("://")[2]
        return path, PurePosixPath(*_steps(PurePosixPath(shown).parent))
    local = local_path(path)
    if os.path.isabs(local):
        return local, PurePosixPath(*_steps(PurePosixPath(local).parent))
    folder = PurePosixPath(*_steps(PurePosixPath(local).parent))
    if is_remote(manifest):
        return f"{manifest.rpartition('/')[0]}/{local}", folder
    return os.path.normpath(Path(os.path.abspath(local_path(manifest))).parent / local), folder


def _steps(folder: PurePosixPath) -> list[str]:
    """The names of folders on the way, none of which leads out."""
    return [step for step in folder.parts if step not in ("/", "..", ".")]


def _safe(output: str, where: str) -> str:
    path = PurePosixPath(output)
    if path.is_absolute() or ".." in path.parts or not path.name or scheme(output):
        expected = "a name below the output folder, without its format"
        raise OptionError("no name for transcripts", where=where, expected=expected, found=repr(output)[:100])
    return path.as_posix()
