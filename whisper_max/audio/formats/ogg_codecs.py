"""What the first packets of a stream in ogg tell: Opus (RFC 7845), Vorbis, FLAC (RFC 9639, 10.1) and Speex."""

from __future__ import annotations

from typing import NamedTuple

_OPUS, _VORBIS, _FLAC, _SPEEX = b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   "
_PRE_SKIP = slice(10, 12)  # of OpusHead: samples to leave out at the start
_FLAC_HEADERS = slice(7, 9)  # of FLAC's first packet: how many follow; 0 where that is not known
_STREAMINFO = slice(17, 51)  # of it
_SPEEX_HEADERS = slice(68, 72)  # of Speex's first packet: how many follow the comments


class Codec(NamedTuple):
    """name: FFmpeg's. n_headers: packets before the sound."""

    name: str
    n_headers: int


def codec_of(first: bytes) -> Codec | None:
    """The codec of a stream by its first packet; None for another, or one that tells too little."""
    if first.startswith(_OPUS):
        return Codec("opus", 2)
    if first.startswith(_VORBIS):
        return Codec("vorbis", 3)
    if first.startswith(_FLAC) and len(first) >= _STREAMINFO.stop:
        n_headers = int.from_bytes(first[_FLAC_HEADERS])
        return Codec("flac", 1 + n_headers) if n_headers else None
    if first.startswith(_SPEEX) and len(first) >= _SPEEX_HEADERS.stop:
        return Codec("speex", 2 + int.from_bytes(first[_SPEEX_HEADERS], "little"))
    return None


def set_up(codec: Codec, headers: list[bytes]) -> tuple[bytes, int]:
    """What FFmpeg's decoder is to know of the headers, and the samples to leave out at the start."""
    first = headers[0]
    if codec.name == "opus":  # what it would leave out, too, is left out by the time of pages
        skip = int.from_bytes(first[_PRE_SKIP], "little")
        return first[: _PRE_SKIP.start] + bytes(2) + first[_PRE_SKIP.stop :], skip
    if codec.name == "vorbis":
        return _laced(headers), 0
    return first[_STREAMINFO] if codec.name == "flac" else first, 0


def _laced(headers: list[bytes]) -> bytes:
    """Headers of Vorbis as FFmpeg takes them: how many, the sizes of all but the last in Xiph's lacing, the headers."""
    sizes = b"".join(b"\xff" * (len(header) // 255) + bytes([len(header) % 255]) for header in headers[:-1])
    return bytes([len(headers) - 1]) + sizes + b"".join(headers)
