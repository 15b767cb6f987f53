"""Which of several audio tracks is transcribed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import av

from whisper_max.audio.channels import Layout
from whisper_max.audio.formats.containers import take_layout
from whisper_max.audio.reading import Reading
from whisper_max.errors import AudioError, OptionError

if TYPE_CHECKING:
    from av.audio import AudioStream
    from av.container import InputContainer

# ISO 639-1 and, as Matroska and MP4 have them, ISO 639-2's codes for terms and for bibliographies.
_CODES = (
    "af:afr am:amh ar:ara as:asm az:aze ba:bak be:bel bg:bul bn:ben bo:bod,tib br:bre bs:bos ca:cat cs:ces,cze "
    "cy:cym,wel da:dan de:deu,ger el:ell,gre en:eng es:spa et:est eu:eus,baq fa:fas,per fi:fin fo:fao fr:fra,fre "
    "gl:glg gu:guj ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye,arm id:ind is:isl,ice it:ita ja:jpn jv:jav "
    "jw:jav ka:kat,geo kk:kaz km:khm kn:kan ko:kor la:lat lb:ltz ln:lin lo:lao lt:lit lv:lav mg:mlg mi:mri,mao "
    "mk:mkd,mac ml:mal mn:mon mr:mar ms:msa,may mt:mlt my:mya,bur ne:nep nl:nld,dut nn:nno no:nor oc:oci pa:pan "
    "pl:pol ps:pus pt:por ro:ron,rum ru:rus sa:san sd:snd si:sin sk:slk,slo sl:slv sn:sna so:som sq:sqi,alb sr:srp "
    "su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl tr:tur tt:tat uk:ukr ur:urd uz:uzb vi:vie "
    "yi:yid yo:yor yue:yue zh:zho,chi"
)
_SHORT = {
    long: short for short, _, longs in (code.partition(":") for code in _CODES.split()) for long in longs.split(",")
}


class Track(NamedTuple):
    """An audio track; layout: the order of its speakers where that has no name."""

    stream: AudioStream
    layout: Layout | None


def check_single(reading: Reading) -> None:
    """Refuse another track than the first of a file whose format has one.

    Raises:
        OptionError: another is wanted.
    """
    if str(reading.track or 1) != "1":
        raise OptionError("no such audio track", where=reading.where, expected="1, the only one", found=reading.track)


def choose_track(container: InputContainer, reading: Reading) -> Track:
    """The track that is wanted, or the one that FFmpeg's program takes: a default one, then the most channels.

    Call it once for a container, before anything else looks at its tracks. Tells which tracks there are where one of
    several is taken that was not asked for.

    Raises:
        AudioError: there is no audio track, or nothing here decodes it.
        OptionError: there is none such.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        found = f"{len(container.streams)} other tracks"
        raise AudioError("no audio track", where=reading.where, found=found)
    layouts = [None if track.codec_context is None else take_layout(track.codec_context) for track in tracks]
    if reading.track is not None:
        best = _wanted(tracks, reading.track, reading.where)
    else:
        best = max(tracks, key=_preference)
        if len(tracks) > 1:
            reading.note("tracks", f"transcribes track {tracks.index(best) + 1} of {_names(tracks)}")
    if best.codec_context is None:
        raise AudioError("its audio is in a codec that is not known", where=reading.where)
    return Track(best, layouts[tracks.index(best)])


def _wanted(tracks: list[AudioStream], track: int | str, where: str) -> AudioStream:
    if isinstance(track, int) or (track.isascii() and track.isdecimal()):
        found = tracks[int(track) - 1 : int(track)] if int(track) > 0 else []
    else:
        code = track.lower()
        found = [one for one in tracks if _SHORT.get(code, code) in (_language(one), _SHORT.get(_language(one)))]
    if not found:
        raise OptionError("no such audio track", where=where, expected=f"one of {_names(tracks)}", found=track)
    return max(found, key=_preference)


def _preference(track: AudioStream) -> tuple[bool, bool, int]:
    if track.codec_context is None:  # FFmpeg has no decoder for it
        return False, False, 0
    return True, bool(track.disposition & av.stream.Disposition.default), track.codec_context.channels


def _language(track: AudioStream) -> str:
    return str(track.language or "").lower().partition("-")[0]


def _names(tracks: list[AudioStream]) -> str:
    """``1 (eng, aac, 2 channels, default), 2 (...)``."""
    return ", ".join(f"{number} ({_name(track)})" for number, track in enumerate(tracks, 1))


def _name(track: AudioStream) -> str:
    codec = track.codec_context
    parts = [_language(track), str(track.metadata.get("title", ""))]
    parts += ["no known codec"] if codec is None else [codec.name, f"{codec.channels} channels"]
    parts += [flag.name or "" for flag in av.stream.Disposition if flag & track.disposition]
    return ", ".join(part for part in parts if part)
