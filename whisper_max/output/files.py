"""Transcripts on disk: which name each input's gets, and writing it whole or not at all."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from whisper_max.atomic import try_to_write, whole_file
from whisper_max.errors import OptionError, OutputError
from whisper_max.output.formats import SUBTITLE_FORMATS, render
from whisper_max.output.subtitles import WriterOptions
from whisper_max.transcribe.result import TranscriptionResult

_STDIN = "-"


def write_result(result: TranscriptionResult, paths: Mapping[str, Path], options: WriterOptions | None = None) -> None:
    """Write a transcript in several formats; each file is whole or not there.

    Args:
        result: the transcript.
        paths: a path for each format, as ``output_paths`` gives them.
        options: layout of words, for srt and vtt.

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
        OptionError: the layout is set, and neither srt nor vtt is written.
    """
    if options.changed() and not any(format in SUBTITLE_FORMATS for format in formats):
        raise OptionError(f"{options.changed()[0]} needs the format srt or vtt", found=", ".join(formats))


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, before anything takes long; its folder is made when missing.

    Raises:
        OutputError: it could not.
    """
    try:
        try_to_write(path)
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text beside its place, flush it to the disk and move it there; the folder is made when missing.

    Raises:
        OutputError: the folder or file can't be written, or the disk is full; no part of the file is left behind.
    """
    try:
        with whole_file(path) as file:
            # A lone surrogate, as in an option that was no UTF-8, becomes a JSON escape.
            file.write(text.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def output_paths(
    inputs: Sequence[str], output_dir: str | os.PathLike[str], formats: Sequence[str]
) -> dict[str, dict[str, Path]]:
    """Where the transcripts of each input go: no two inputs share a name, and none leaves ``output_dir``.

    The name is the input's without its last extension ("a.b.wav" -> "a.b.srt"), "stdin" for standard input. Inputs
    that would share one keep their extension ("talk.wav.srt", "talk.mp3.srt"), and those that still do are numbered
    in the order given ("talk.wav.srt", "talk.wav-2.srt"). Names that differ only in case count as the same.

    Returns:
        for each input, a path for each format.
    """
    folder = Path(output_dir)
    return {
        source: {format: folder / f"{name}.{format}" for format in formats}
        for source, name in _names(list(dict.fromkeys(inputs))).items()
    }


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


def _stem(source: str) -> str:
    return "stdin" if source == _STDIN else Path(_file_name(source)).stem


def _file_name(source: str) -> str:
    if source == _STDIN:
        return "stdin"
    return Path(source).name or "audio"


def _key(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _first_free(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while _key(candidate) in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
