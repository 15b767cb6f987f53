"""Files of samples (wav, aiff, au, caf, w64, rf64 and the like), by libsndfile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import FileIO

import soundfile

from whisper_max.audio.block import BLOCK_FRAMES, Block
from whisper_max.audio.formats.chunks import Size
from whisper_max.audio.formats.speakers import find_layout
from whisper_max.audio.pieces import Pieces, check_readable
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import AudioError

# Lines of libsndfile's log where a size in the header disagrees with the file; wav, aiff, au, w64 and rf64.
_SIZE_MISMATCH = re.compile(r"^\s*(data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
# Writers that can't seek back (pipes) put this or more where a size of 32 or of 64 bits belongs.
_UNKNOWN_SIZE, _UNKNOWN_LARGE_SIZE = 0x7FFFF000, 1 << 62
_WITHIN = 0.1  # seconds that may be less than a header tells before that is told

_MAX_CHANNELS = 64  # a block of more would take much memory, and no recording has them
_RAW_FORMATS = ("W64", "RF64", "AIFF", "AU")
_LARGE_HEADER = 4096  # bytes; a raw format without samples is smaller than that
_HEAD = 20
_BEGINNINGS = (
    *(b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b".snd", b"dns.", b"riff"),
    *(b"fap ", b" paf", b"NIST", b"\x64\xa3", b"\x00\x01\xa3\x64", b"2BIT", b"MATLAB"),
    *(b"PVF1", b"Extended Instrument:", b"ALawSoundFile**", b"\x01\x04", b"\xf0\x7e"),
    *(b"\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00", b"\x00\x00\x03\xe8\x00\x00\x00\x01\x00\x00\x00\x01"),
)  # guess_file_type in its sndfile.c, less what has frames, and voc, of whose blocks it reads the heads as sound
_OF_FRAMES = ("FLAC", "OGG", "MPEG", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")  # formats and subtypes
_FRAMES_OF_CAF = "ALAC"
_SUBFORMAT = re.compile(r"^\s*esf_field1\s*:\s*0x([0-9A-F]+)", re.MULTILINE)  # in its log, of WAVE_FORMAT_EXTENSIBLE
_INTEGERS = 1  # WAVE_FORMAT_PCM


def open_samples(source: FileIO | Pieces) -> soundfile.SoundFile | None:
    """A file of samples; None where it is none, or none that libsndfile knows.

    libsndfile takes what it does not know for mp3, and its decoder then writes to standard error: it is not asked.
    """
    source.seek(0)
    head, n_bytes = source.read(_HEAD), source.seek(0, os.SEEK_END)
    if not (head.startswith(_BEGINNINGS) or _is_htk(head, n_bytes)):
        return None
    source.seek(0)
    try:
        if isinstance(source, Pieces):
            sound = soundfile.SoundFile(source)
        else:
            sound = soundfile.SoundFile(source.fileno(), closefd=False)
    except soundfile.LibsndfileError:
        return None
    is_of_frames = sound.format in _OF_FRAMES or sound.subtype in _OF_FRAMES or sound.subtype.startswith(_FRAMES_OF_CAF)
    if is_of_frames or _is_mistaken(sound):
        sound.close()
        return None
    return sound


def _is_mistaken(sound: soundfile.SoundFile) -> bool:
    """True where libsndfile takes other samples for integers, as it does in w64 with an extensible format."""
    subformat = _SUBFORMAT.search(sound.extra_info)
    return subformat is not None and int(subformat[1], 16) != _INTEGERS and sound.subtype.startswith("PCM")


def _is_htk(head: bytes, n_bytes: int) -> bool:
    """True for a file of HTK, which has no mark, but its number of samples and of the bytes of each, two."""
    return len(head) == _HEAD and head[8:12] == b"\0\2\0\0" and n_bytes == 12 + 2 * int.from_bytes(head[:4])


def decode_samples(
    sound: soundfile.SoundFile, file: FileIO, size: Size | None, reading: Reading, timeline: Timeline
) -> Iterator[Block]:
    """The blocks of a file of samples.

    Args:
        sound: the file, opened.
        file: the same.
        size: that its header tells of its samples.
        reading: where it is told that the file is shorter or longer than its header says.
        timeline: of the recording.

    Raises:
        AudioError: it has too many channels, or none of its samples is declared.
        OSError: the disk refuses a part of it.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    if sound.channels > _MAX_CHANNELS:
        expected = f"at most {_MAX_CHANNELS}"
        raise AudioError("too many channels", where=reading.where, expected=expected, found=sound.channels)
    if sound.frames == 0 and sound.format in _RAW_FORMATS and n_bytes > _LARGE_HEADER:
        raise AudioError("no samples by its header", where=reading.where, found=f"a file of {n_bytes} bytes")
    if size is None or size.declared == size.present:  # as libsndfile has it, which knows more formats
        size = _logged_size(sound, size)
    if size is not None and reading.strict:
        tell_size(size, 0.0, 0.0, reading)
    layout = find_layout(sound, file)
    n_read = 0
    is_damaged = False
    while True:
        try:
            samples = sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            is_damaged = True
            break
        if len(samples) == 0:
            break
        n_read += len(samples)
        yield from timeline.place(Block(sound.samplerate, samples, layout))
    missing = (sound.frames - n_read) / sound.samplerate
    if is_damaged or missing > _WITHIN:
        check_readable(file)
        _tell_missing("damaged or truncated", timeline.seconds, missing, reading)
    elif size is not None:
        tell_size(size, timeline.seconds, n_read / sound.samplerate / max(size.present, 1), reading)


def _tell_missing(what: str, now: float, missing: float, reading: Reading) -> None:
    expected, found = f"{now + missing:.2f} s", f"{now:.2f} s"
    reading.warn("truncated", now, now + missing, what, expected=expected, found=found)


def _logged_size(sound: soundfile.SoundFile, size: Size | None) -> Size | None:
    """What libsndfile logs of a header that declares more than there is: it reads what is there."""
    for _, declared, present in _SIZE_MISMATCH.findall(sound.extra_info):
        if int(present) < int(declared) < _UNKNOWN_SIZE:
            return Size(int(declared), int(present))
    return size


def _tell_more(size: Size, now: float, second: float, reading: Reading) -> None:
    """Tell what is behind the samples that a header declares; second: of a byte."""
    if size.more:
        reading.warn(
            "left out",
            now,
            now + size.more * second,
            "its header declares less audio than it holds",
            expected=f"{size.declared} bytes",
            found=f"{size.more} more that belong to nothing",
            hint="repair the header, or cut off what is not audio",
        )


def tell_size(size: Size, now: float, second: float, reading: Reading) -> None:
    """Tell what a header declares more or less than there is; second: of a byte."""
    _tell_more(size, now, second, reading)
    missing = size.declared - size.present
    if missing > 0 and size.declared < _UNKNOWN_LARGE_SIZE and (missing * second > _WITHIN or reading.strict):
        expected, found = f"{size.declared} bytes of audio", f"{size.present}"
        reading.warn("truncated", now, now + missing * second, "truncated", expected=expected, found=found)
