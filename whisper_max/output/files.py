"""Transcripts on disk or in a store: which name each input's gets, and writing it whole or not at all."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from whisper_max.errors import OptionError, OutputError
from whisper_max.files.atomic import try_to_write, whole_file
from whisper_max.files.remote import WEB, Place, RemotePath, place, scheme, source_name
from whisper_max.output.formats import SUBTITLE_FORMATS, render
from whisper_max.output.subtitles import WriterOptions
from whisper_max.transcribe.result import TranscriptionResult

_STDIN = "-"
_USUAL_LONGEST_NAME = 255  # bytes
_DIGEST, _MARKS = 12, 6  # characters of a digest; of the dash before it and a number behind it, as "-" and "-9999"


def write_result(result: TranscriptionResult, paths: Mapping[str, Place], options: WriterOptions | None = None) -> None:
    """Write a transcript in several formats; each file is whole or not there.

    Args:
        result: the transcript.
        paths: a path for each format, as ``output_paths`` gives them.
        options: layout of words, for srt, vtt and ass.

    Raises:
        OptionError: an unknown format, or options that no given format or no word can honour.
        OutputError: a file that can't be written.
    """
    options = WriterOptions() if options is None else options
    check_layout(options, tuple(paths))
    texts = {path: render(result, format, options) for format, path in paths.items()}
    for path, text in texts.items():
        write_atomically(path, text)


def check_layout(options: WriterOptions, formats: Sequence[str]) -> None:
    """Refuse a layout that none of the formats has.

    Raises:
        OptionError: the layout is set, and neither srt, vtt nor ass is written; or karaoke, and not vtt or ass.
    """
    if options.changed() and not any(format in SUBTITLE_FORMATS for format in formats):
        raise OptionError(f"{options.changed()[0]} needs the format srt, vtt or ass", found=", ".join(formats))
    if options.karaoke and not any(format in ("vtt", "ass") for format in formats):
        raise OptionError("karaoke needs the format vtt or ass", found=", ".join(formats))


def check_writable(path: Place) -> None:
    """Refuse a file that could not be written, before anything takes long; its folder is made when missing.

    What a store takes is not tried: to write there may cost, and set off what waits for it.

    Raises:
        OutputError: it could not.
    """
    if isinstance(path, RemotePath):
        if scheme(path.uri) in WEB:
            raise OutputError("can't be written", where=path, expected="a folder, or a store that takes files")
        return
    try:
        try_to_write(path)
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def write_atomically(path: Place, text: str) -> None:
    """Write UTF-8 text beside its place, flush it to the disk and move it there; the folder is made when missing.

    A store gets it in one piece.

    Raises:
        OutputError: the folder or file can't be written, or the disk is full; no part of the file is left behind.
    """
    # A lone surrogate, as in an option that was no UTF-8, becomes a JSON escape.
    write_whole(path, text.encode("utf-8", errors="backslashreplace"))


def write_whole(path: Place, content: bytes, *, flush: bool = True) -> None:
    """As ``write_atomically``, of bytes. flush: as ``whole_file`` has it."""
    try:
        if isinstance(path, RemotePath):
            path.write_bytes(content)
            return
        with whole_file(path, flush=flush) as file:
            file.write(content)
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def output_paths(
    inputs: Sequence[str], output_dir: str | os.PathLike[str] | RemotePath, formats: Sequence[str]
) -> dict[str, dict[str, Place]]:
    """Where the transcripts of each input go: no two inputs share a name, and none leaves ``output_dir``.

    ``output_dir`` may be the URL of a folder of a store.

    The name is the input's without its last extension ("a.b.wav" -> "a.b.srt"), "stdin" for standard input. Inputs
    that would share one keep their extension ("talk.wav.srt", "talk.mp3.srt"), and those that still do are numbered
    in the order given ("talk.wav.srt", "talk.wav-2.srt"). Names that differ only in case count as the same. A name that
    is longer than the file system allows with its format ends in a digest of the whole instead.

    Returns:
        for each input, a path for each format.
    """
    folder = place(output_dir)
    names = _names(list(dict.fromkeys(inputs)))
    paths: dict[str, dict[str, Place]] = {source: {} for source in names}
    for format in formats:
        room = _longest_name(folder) - len(f".{format}".encode())
        for source, name in _fitting(names, room).items():
            paths[source][format] = folder / f"{name}.{format}"
    return paths


def numbered_inputs(inputs: Sequence[str]) -> set[str]:
    """The inputs of ``output_paths`` whose names depend on the order: the same file name in several folders."""
    uses = Counter(_key(_file_name(source)) for source in dict.fromkeys(inputs))
    return {source for source in inputs if uses[_key(_file_name(source))] > 1}


def _names(inputs: list[str]) -> dict[str, str]:
    stems = {source: _stem(source) for source in inputs}
    uses = Counter(_key(stem) for stem in stems.values())
    names = {source: stem for source, stem in stems.items() if uses[_key(stem)] == 1}
    taken = {_key(name) for name in names.values()}
    for source in inputs:
        if source not in names:
            name = _first_free(_file_name(source), taken)
            taken.add(_key(name))
            names[source] = name
    return {source: names[source] for source in inputs}


def _longest_name(folder: Place) -> int:
    """Bytes in a file's name, by the file system on which the folder is or will be made."""
    if isinstance(folder, RemotePath):
        return _USUAL_LONGEST_NAME
    for parent in (folder, *folder.parents):
        try:
            return os.pathconf(parent, "PC_NAME_MAX")
        except (OSError, ValueError):  # not made yet, or a system that doesn't say
            continue
    return _USUAL_LONGEST_NAME


def _fitting(names: Mapping[str, str], room: int) -> dict[str, str]:
    """The names, those of more than ``room`` bytes shortened; all are still different."""
    fitting = {source: name for source, name in names.items() if len(os.fsencode(name)) <= room}
    taken = {_key(name) for name in fitting.values()}
    for source, name in names.items():
        if source not in fitting:
            short = _first_free(_shortened(name, room), taken)
            taken.add(_key(short))
            fitting[source] = short
    return fitting


def _shortened(name: str, room: int) -> str:
    """As much of a name as there is room for, a digest of the whole, and room for a number."""
    encoded = os.fsencode(name)
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST]
    start = encoded[: max(room - _DIGEST - _MARKS, 0)].decode("utf-8", errors="ignore")  # a half character goes
    return f"{start}-{digest}"


def _stem(source: str) -> str:
    return "stdin" if source == _STDIN else Path(_file_name(source)).stem


def _file_name(source: str) -> str:
    if source == _STDIN:
        return "stdin"
    return source_name(source) or "audio"


def _key(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _first_free(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while _key(candidate) in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
