"""Files in FFmpeg's libraries (PyAV), which would open more than is meant: recordings only, and no other file.

FFmpeg takes a text that lists other files, or addresses, for a recording and opens what it names. Here it may read the
bytes that it is given: of its demuxers those for recordings, of its protocols none, and whatever one of them asks to
open besides is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, cast

import av
import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.block import Block
from whisper_max.audio.channels import Layout
from whisper_max.audio.reading import CONVERT_HINT
from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from io import FileIO

    from av.audio import AudioFrame
    from av.audio.codeccontext import AudioCodecContext
    from av.container import InputContainer

    from whisper_max.audio.pieces import Pieces

av.logging.set_level(None)  # FFmpeg's own lines on stderr: what they are about is told as warnings

MOST_CHANNELS = 64  # a block of more would take much memory, and no recording has them

# Demuxers of recordings, by FFmpeg's names. Not there: lists of other files, sessions on a network, pictures, games,
# subtitles, scripts, devices, and raw samples without a header.
_FORMATS = """
aa aac ac3 ac4 act adx aea aiff amr amrnb amrwb apac ape asf asf_o au avi bonk caf codec2 dfpwm dsf dss dts dtshd dv
eac3 flac flv g722 g723_1 g726 g726le g729 gsm gxf iamf iff ilbc ircam lc3 live_flv loas matroska,webm mlp mmf mov mp3
mpc mpc8 mpeg mpegts mxf nistsphere nsp nsv nut nuv ogg oma osq paf pva pvf qcp qoa rka rm rso sbc sds shn smjpeg sox
spdif tak truehd tta voc vqf w64 wav wavarc wsd wtv wv xwma
"""
_OPTIONS = {"format_whitelist": ",".join(_FORMATS.split()), "protocol_whitelist": "none"}  # one of no such name


def open_container(source: FileIO | Pieces, where: str) -> InputContainer:
    """A file in FFmpeg, which opens nothing else; use it as a context.

    Args:
        source: a seekable file; it is not closed.
        where: its name in errors.

    Raises:
        AudioError: it is nothing that is known as a recording, or names another file.
    """

    def refuse(_url: str, _flags: int, _options: dict[str, Any]) -> NoReturn:
        raise AudioError("it names other files, which are not opened", where=where)

    source.seek(0)
    try:
        return av.open(source, "r", metadata_errors="replace", container_options=_OPTIONS, io_open=refuse)
    except av.FFmpegError as error:
        raise AudioError(
            "not audio, damaged or truncated", where=where, found="0.00 s of sound", hint=CONVERT_HINT
        ) from error


def take_layout(codec: AudioCodecContext) -> Layout | None:
    """Take from a container's codec the order of its speakers, where it has one of its own.

    Before anything else looks at the codec's layout or number of channels, and once: what describes such a layout
    (AV_CHANNEL_ORDER_CUSTOM) is freed with each of PyAV's objects for it and with the codec, too, which ends the
    process. The first object keeps it here, and in its place the codec is told a name, or the number of channels alone.

    Returns:
        The speakers in their order; None where FFmpeg has a name for it, or none are told.
    """
    layout = codec.layout
    if layout.nb_channels == 0:
        return None
    name = layout.name
    if " channels (" in name:
        codec.layout = f"{layout.nb_channels} channels"
        return tuple(channel.name for channel in layout.channels)
    codec.layout = f"{layout.nb_channels} channels" if name.startswith("ambisonic") else name
    return None


class Frames:
    """From the frames of a decoder to blocks of float32, at their own rate and channels.

    PyAV reads planes beyond the eighth where there are none; so frames are packed.

    Args:
        codec: the decoder.
        where: the recording, for errors.
        custom: what ``take_layout`` took from it.

    Raises:
        AudioError: too many channels.
    """

    def __init__(self, codec: AudioCodecContext, where: str, custom: Layout | None = None) -> None:
        self._where = where
        self._custom = custom
        self._kind: tuple[str, str, int] | None = None
        self._to_packed: av.AudioResampler | None = None
        self._layout: Layout | None = None
        self._check(codec.layout.nb_channels)

    def blocks(self, frame: AudioFrame) -> Iterator[Block]:
        """The samples of a frame; format, channels and rate may differ from those of the frame before.

        Raises:
            AudioError: too many channels.
        """
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._to_packed is None or kind != self._kind:
            self._check(frame.layout.nb_channels)
            self._kind, self._to_packed = kind, av.AudioResampler(format="flt")
            self._layout = self._find_layout(frame)
        for packed in self._to_packed.resample(frame):
            samples = cast("NDArray[np.float32]", packed.to_ndarray())  # (1, n_frames * n_channels)
            yield Block(packed.sample_rate, samples.reshape(-1, packed.layout.nb_channels), self._layout)

    def _find_layout(self, frame: AudioFrame) -> Layout | None:
        names = tuple(channel.name for channel in frame.layout.channels)
        if self._custom is not None and len(self._custom) == len(names):
            names = self._custom
        return None if "NONE" in names else names

    def _check(self, n_channels: int) -> None:
        if n_channels > MOST_CHANNELS:
            raise AudioError(
                "too many channels", where=self._where, expected=f"at most {MOST_CHANNELS}", found=n_channels
            )
