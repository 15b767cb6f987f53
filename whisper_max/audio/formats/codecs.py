"""The decoders of FFmpeg's libraries: which one, where several decode the same, and how they are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av

from whisper_max.errors import AudioError

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.audio.codeccontext import AudioCodecContext

# FFmpeg's own decoder of Opus gives speech that is other than that of the reference one, libopus: by up to 0.4 of full
# scale was seen. The reference decoder defines the format (RFC 6716, section 6).
_OPUS, _LIBOPUS = "opus", "libopus"
_FLOAT = {"request_sample_fmt": "flt"}  # of libopus, which else gives 16 bits


def create_decoder(codec: str) -> AudioCodecContext:
    """A decoder that is not open yet.

    Args:
        codec: FFmpeg's name.
    """
    is_reference = codec == _OPUS and _LIBOPUS in av.codecs_available
    decoder = cast("AudioCodecContext", av.CodecContext.create(_LIBOPUS if is_reference else codec, "r"))
    if is_reference:
        decoder.options = dict(_FLOAT)
    return decoder


def stream_decoder(stream: AudioStream, where: str) -> AudioCodecContext:
    """The decoder of a container's track, which it has already but where another one is better.

    Args:
        stream: the track.
        where: the file's name in errors.

    Raises:
        AudioError: what the track tells of its sound can't be.
    """
    own = stream.codec_context
    if own.name != _OPUS or _LIBOPUS not in av.codecs_available:
        return own
    decoder = create_decoder(_OPUS)
    decoder.extradata = own.extradata
    decoder.sample_rate = own.sample_rate
    decoder.layout = own.layout
    try:
        decoder.open()
    except av.FFmpegError as error:
        raise AudioError("damaged", where=where, found="a header of opus that can't be read") from error
    return decoder
