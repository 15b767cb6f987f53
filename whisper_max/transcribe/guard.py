"""The guard: which segments were probably never said, why, and by which numbers.

Models write fluent text where nobody speaks. What gives it away is that they would write it without the audio: the
guard asks the model how likely the text is after the window's audio and after none at all. Its *support* is the share
of the surprise that the audio takes away, 1 - log p(text | audio) / log p(text | silence): near 1 for what is said,
however badly it is heard, and near 0 for what is not.

That takes two more runs of the decoder over the tokens of a window. So only windows are asked about that something
speaks against: the model's own doubts, text that is too fast or over hardly any sound, loops, and phrases that training
data left behind. What a window's segments are found to be depends on nothing but the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.measures import loudest, voiced
from whisper_max.audio.mel import N_FRAMES, MelWindows
from whisper_max.audio.waveform import ArrayWaveform, Waveform
from whisper_max.decode.contract import Align, Alignment, DecoderBatch, Inference
from whisper_max.decode.decoded import Decoded
from whisper_max.decode.loops import first_loop
from whisper_max.text.languages import UNSPACED
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.segment import Doubt, Segment
from whisper_max.transcribe.stock_phrases import stock_phrase
from whisper_max.transcribe.timing import alignment_tokens
from whisper_max.transcribe.window import Cut, Piece

# Windows that are asked about: a quarter of all short clips of speech is less sure of itself than 0.5 and 0.2, a
# twelfth than these; of what was invented over noise all.
_NO_SPEECH = 0.3  # probability of no speech above it
_UNLIKELY = -0.7  # average log-probability below it

# Support of 350 segments of speech, by base and tiny.en: 0.82 and more, but for one of which hardly a word was right,
# with 0.72. Of what they invented over noise, or sampled at high temperatures: 0.5 and less.
_UNSUPPORTED = 0.65  # nothing else need speak against it
_HARDLY_SUPPORTED = 0.7  # where something else does

# What was said before in the window would be said again without audio, too: there support tells little. Attention does:
# of what is said it is 0.05 and more at its largest, of what is copied without being said 0.03.
_COPIED = 0.5  # of the tokens of a segment, in sequences of three that are in the window before
_ATTENDED = 0.05
_CERTAIN = 0.3  # nats for a token: what is as certain as that without audio can't gain support by it
_SUPPORTED_COPY = 0.55  # what is not must

_SILENT = -55.0  # dB of full scale: the loudest twentieth of a second of what nobody says
_UNVOICED = 0.1  # of the frames: fewer have a pitch
_FASTEST, _FASTEST_UNSPACED = 40.0, 20.0  # characters in a second, the second where a character is a syllable or more

_silent_batches: WeakKeyDictionary[Inference, DecoderBatch] = WeakKeyDictionary()
"""A silent window of each model, made when it is first needed: as large as any other, and so long to encode."""


@dataclass(frozen=True)
class _Evidence:
    """What the model says of a segment's text.

    support: see above. attention: the largest share of it at one place, the mean over the tokens. copied: the share of
    tokens that repeat what is before them in the window. surprise: -log p(text | audio), the mean over the tokens.
    """

    support: float
    attention: float
    copied: float
    surprise: float

    @property
    def is_said_again(self) -> bool:
        """True for a copy that is heard where it stands."""
        is_likely = self.surprise <= _CERTAIN or self.support >= _SUPPORTED_COPY
        return self.copied >= _COPIED and self.attention >= _ATTENDED and is_likely


class Guard:
    """Judges the segments of windows.

    Args:
        inference: the model.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def judge(self, piece: Piece, cut: Cut, align: Align, heard: Waveform | None) -> None:
        """Set the doubt of a cut's segments; with ``drop``, take those out that were probably never said.

        Args:
            align: of the cut's window.
            heard: what is transcribed; None where nothing but the model tells of it.
        """
        spoken = [segment for segment in cut.segments if segment.text.strip()]
        if cut.skipped or not spoken:
            return
        tokenizer = piece.tokenizer
        reasons = [_reasons(segment, tokenizer, heard) for segment in spoken]
        if not (_doubts_itself(cut.result) or cut.result.loops or any(reasons)):
            return
        evidence = self._evidence(tokenizer, spoken, align)
        for segment, found, against in zip(spoken, evidence, reasons, strict=True):
            segment.doubt = _doubt(segment, found, against, heard)
        if piece.options.guard == "drop":
            cut.dropped = [segment for segment in cut.segments if segment.doubt]
            cut.segments = [segment for segment in cut.segments if not segment.doubt]

    def _evidence(self, tokenizer: Tokenizer, segments: Sequence[Segment], align: Align) -> list[_Evidence]:
        """What the model says of each segment, in the context of those before it."""
        texts = [[token for token in segment.tokens if tokenizer.is_text(token)] for segment in segments]
        tokens = alignment_tokens(tokenizer, [token for text in texts for token in text])
        first = len(tokenizer.sot_sequence_including_notimestamps)
        heard = align(tokens, tokenizer.n_competing)
        unheard = self._align_silence(tokens, tokenizer.n_competing)
        attention = heard.weights.mean(axis=0).max(axis=1)  # (n_tokens,)
        copies = _copies(tokens)
        with_audio, without = _logs(heard), _logs(unheard)
        found = []
        for text in texts:
            part = slice(first, first + len(text))
            support = 1.0 - with_audio[part].sum() / min(without[part].sum(), -1e-6)
            shares = support, attention[part].mean(), copies[part].mean(), -with_audio[part].mean()
            found.append(_Evidence(*(round(float(share), 3) for share in shares)))
            first += len(text)
        return found

    def _align_silence(self, tokens: Sequence[int], n_competing: int) -> Alignment:
        """As if the window were silent."""
        batch = _silent_batches.get(self._inference)
        if batch is None:
            silence = MelWindows(ArrayWaveform(np.zeros(0, np.float32)), self._inference.dims.n_mels)
            batch = self._inference.new_batch(1)
            batch.put([0], self._inference.encode(silence.window(0, N_FRAMES)[None]))
            _silent_batches[self._inference] = batch
        return batch.align(0, tokens, n_competing)


def _logs(alignment: Alignment) -> NDArray[np.float64]:
    """(n_tokens,) log-probabilities; those that float32 rounds to 0 as the least it can hold."""
    least = np.finfo(np.float32).tiny
    logs: NDArray[np.float64] = np.log(np.maximum(alignment.token_probs.astype(np.float64), least))
    return logs


def _copies(tokens: Sequence[int]) -> NDArray[np.bool_]:
    """(n_tokens,) True for each token in a sequence of three that came before."""
    copies = np.zeros(len(tokens), np.bool_)
    seen: set[tuple[int, ...]] = set()
    for i in range(len(tokens) - 2):
        three = tuple(tokens[i : i + 3])
        copies[i : i + 3] |= three in seen
        seen.add(three)
    return copies


def _doubts_itself(decoded: Decoded) -> bool:
    return decoded.no_speech_prob > _NO_SPEECH or decoded.avg_logprob < _UNLIKELY


def _reasons(segment: Segment, tokenizer: Tokenizer, heard: Waveform | None) -> list[Doubt]:
    """What speaks against a segment, found without the model."""
    found: list[Doubt] = []
    language = segment.language or tokenizer.language
    if stock_phrase(segment.text, language) is not None:
        found.append(Doubt("stock phrase", {}))
    limit = _FASTEST_UNSPACED if language in UNSPACED else _FASTEST
    if (pace := _pace(segment)) > limit:
        found.append(Doubt("too fast", {"characters_per_second": round(pace, 1), "limit": limit}))
    if heard is not None and (level := loudest(heard, segment.start, segment.end)) < _SILENT:
        found.append(Doubt("silence", {"level": round(level, 1), "limit": _SILENT}))
    loop = first_loop([token for token in segment.tokens if tokenizer.is_text(token)])
    if loop is not None:
        found.append(Doubt("loop", {"repeats": float(loop.repeats), "tokens": float(len(loop.tokens))}))
    return found


def _doubt(
    segment: Segment, evidence: _Evidence, against: Sequence[Doubt], heard: Waveform | None
) -> list[Doubt] | None:
    """Why a segment was probably never said; None where the audio supports it."""
    if evidence.support >= _HARDLY_SUPPORTED or evidence.is_said_again:
        return None
    found = list(against)
    if heard is not None and (share := voiced(heard, segment.start, segment.end)) < _UNVOICED:
        found.append(Doubt("no voice", {"voiced": round(share, 3), "limit": _UNVOICED}))
    if not found and evidence.support >= _UNSUPPORTED:
        return None
    limit = _HARDLY_SUPPORTED if found else _UNSUPPORTED
    numbers = {
        "support": evidence.support,
        "limit": limit,
        "attention": evidence.attention,
        "copied": evidence.copied,
        "surprise": evidence.surprise,
    }
    return [Doubt("not heard", numbers), *found]


def _pace(segment: Segment) -> float:
    """Letters and digits in a second; of a segment without length, in the shortest time that timestamps tell."""
    return sum(map(str.isalnum, segment.text)) / max(segment.end - segment.start, 0.02)
