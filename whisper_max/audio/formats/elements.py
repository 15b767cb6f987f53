"""The elements of Matroska and WebM (RFC 9559), of mp4 in fragments (ISO/IEC 14496-12) and of flv (Adobe).

They are known by their headers; those that a recording has at its top or, in Matroska, in a cluster.
"""

from __future__ import annotations

from whisper_max.audio.formats.repair import Element, Grammar, Repaired, repair
from whisper_max.audio.pieces import Pieces
from whisper_max.audio.reading import Reading

# ---------------------------------------------------------------- Matroska: EBML, RFC 8794

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_TIME, _BLOCK, _GROUP = b"\xe7", b"\xa3", b"\xa0"
_GONE_INTO = (_SEGMENT, _CLUSTER)
_OTHERS = (
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1c\x53\xbb\x6b"),  # in a segment
    *(b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67", _EBML),
    *(_TIME, _GROUP, b"\xab", b"\xa7", b"\x58\x54", b"\xaf"),  # in a cluster
    *(b"\xec", b"\xbf"),  # anywhere: void, and a checksum
)
_NUMBERS, _LONGEST_NUMBER = (_TIME, b"\xab", b"\xa7", b"\xbf"), 8  # bytes of a time, a place or a checksum
# A block, how long it is, what it needs, what belongs to it; or nothing is there yet.
_FIRST_IN_GROUP = (b"\xa1", b"\x9b", b"\xfb", b"\x75", b"")
_VOID = b"\xec"
_RESERVED = 0x70  # flags of a block, all 0


def _ebml(look: bytes) -> Element | None:
    name = look[: _vint_size(look[:1])]
    at = len(name)
    n = _vint_size(look[at : at + 1])
    if n == 0 or len(look) < at + n or not (name == _BLOCK or name in _GONE_INTO or name in _OTHERS):
        return None
    bits = (1 << 7 * n) - 1
    size, head = int.from_bytes(look[at : at + n]) & bits, at + n
    if name in _GONE_INTO:
        return Element(head, None if size == bits else size if name == _CLUSTER else 0)
    if name == _BLOCK and not _is_block(look[head:], size):
        return None
    if name in _NUMBERS and size > _LONGEST_NUMBER:
        return None
    if name == _GROUP and look[head : head + 1] not in _FIRST_IN_GROUP:
        return None
    return None if size == bits else Element(head + size)


def _vint_size(first: bytes) -> int:
    """Bytes of a number of variable length by its first one; 0 where that begins none."""
    return 9 - first[0].bit_length() if first and first[0] else 0


def _is_block(content: bytes, size: int) -> bool:
    """True where the content of a simple block begins: its track, below 127, two bytes of time, flags."""
    return size >= 4 and (len(content) < 4 or (content[0] > 0x80 and not content[3] & _RESERVED))


def _void(n_bytes: int) -> bytes:
    short = n_bytes - 2
    return _VOID + (bytes([0x80 | short]) if short < 0x7F else (1 << 56 | n_bytes - 9).to_bytes(8))


MATROSKA = Grammar(
    look=16,
    parse=_ebml,
    beginnings=(_BLOCK, _GROUP, _CLUSTER),
    outer=(_CLUSTER,),
    filler=_void,
    least=2,
)


def without_size(header: bytes) -> bytes:
    """The header of an element of Matroska that is gone into, as of one that does not tell where it ends."""
    name = next((name for name in _GONE_INTO if header.startswith(name)), b"")
    n = len(header) - len(name)
    return header if not name else name + ((1 << 8 * n) - 1 >> (n - 1)).to_bytes(n)


# ---------------------------------------------------------------- mp4

_BOXES = (
    *(b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"ssix", b"prft", b"emsg"),
    *(b"uuid", b"mfra", b"meta", b"pdin", b"udta"),
)
_HOLDING = frozenset({b"moof", b"traf"})  # in a fragment: what is in them is looked at
_BOX = 8  # bytes of a header


def _box(look: bytes) -> Element | None:
    if len(look) < _BOX:
        return None
    size, name = int.from_bytes(look[:4]), look[4:8]
    if name not in _BOXES or 1 < size < _BOX:
        return None
    if size < _BOX:  # 1: in 8 bytes behind the name; 0: to the end
        size = int.from_bytes(look[8:16]) if size == 1 else len(look)
        return Element(size) if size >= _BOX else None
    return None if name == b"moof" and not _is_whole(look[:size], size) else Element(size)


def _is_whole(box: bytes, size: int) -> bool:
    """True where the boxes in one, and in those, fill it; as far as there are bytes of it."""
    place = _BOX
    while place + _BOX <= len(box):
        inner, name = int.from_bytes(box[place : place + 4]), box[place + 4 : place + 8]
        if inner < _BOX or place + inner > size or not name.isalnum():
            return False
        if name in _HOLDING and not _is_whole(box[place : place + inner], inner):
            return False
        place += inner
    return place == size or len(box) < size


_MP4 = Grammar(
    look=1 << 14,
    parse=_box,
    beginnings=(b"moof",),
    outer=(b"moof",),
    filler=lambda n_bytes: n_bytes.to_bytes(4) + b"free",
    least=_BOX,
    beginning_at=4,
)

# ---------------------------------------------------------------- flv

_TAG = 11  # bytes of a header; behind the content, 4 with the size of all
_TAGS = (b"\x08", b"\x09", b"\x12")  # sound, picture, script
_NO_TAG = b"\x00"


def _tag(look: bytes) -> Element | None:
    if len(look) < _TAG or look[:1] not in (*_TAGS, _NO_TAG) or look[8:11] != bytes(3):
        return None
    return Element(_TAG + int.from_bytes(look[1:4]) + 4)


def _empty_tag(n_bytes: int) -> bytes:
    return _NO_TAG + min(n_bytes - _TAG - 4, 0xFFFFFF).to_bytes(3) + bytes(7)


_FLV = Grammar(look=_TAG, parse=_tag, beginnings=_TAGS, outer=_TAGS, filler=_empty_tag, least=_TAG + 4)


def repair_elements(source: Pieces, reading: Reading) -> Repaired:
    """A file as a demuxer should get it: as it is, but where elements of one of these formats are damaged."""
    head = source.peek(0, _TAG)
    if head.startswith(_EBML):
        return repair(source, 0, MATROSKA, reading)
    if head[4:8] in (b"ftyp", b"styp", b"moov"):
        return repair(source, 0, _MP4, reading)
    if head.startswith(b"FLV"):
        return repair(source, int.from_bytes(head[5:9]) + 4, _FLV, reading)
    return Repaired(source)
