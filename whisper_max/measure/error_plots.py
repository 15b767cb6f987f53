"""The errors of an evaluation as pictures: by recording, and by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from jiwer import process_words

from whisper_max.measure.drawing.charts import Bar, bars
from whisper_max.measure.drawing.svg import Drawing
from whisper_max.measure.evaluate import ClipScore, Score, spaced

_MOST_RECORDINGS, _MOST_WORDS = 60, 40
_KINDS = ("substitutions", "deletions", "insertions")


def draw_errors(score: Score) -> list[Drawing]:
    """Both pictures; of many recordings or words, those with the most errors."""
    return [_by_recording(score.clips), _by_word(score.clips)]


def _by_recording(clips: Iterable[ClipScore]) -> Drawing:
    """Word errors of each recording, per cent of its words; those without words are left out."""
    rated = sorted((clip for clip in clips if clip.words.n_reference), key=lambda clip: -(clip.words.rate or 0.0))
    rows = []
    for clip in rated[:_MOST_RECORDINGS]:
        words = clip.words
        counts = [getattr(words, kind) for kind in _KINDS]
        note = f"{sum(counts)} of {words.n_reference}"
        rows.append(Bar(clip.name, [100 * count / words.n_reference for count in counts], None, note))
    return bars(_title("Word errors by recording", len(rated), _MOST_RECORDINGS), "% of its words", _KINDS, rows)


def _by_word(clips: Iterable[ClipScore]) -> Drawing:
    """How often each word was taken for another, left out, or put in."""
    counted = {kind: Counter[str]() for kind in _KINDS}
    for kind, word in (each for clip in clips for each in word_errors(clip)):
        counted[kind][word] += 1
    total = sum(counted.values(), Counter[str]())
    rows = [
        Bar(word, [counted[kind][word] for kind in _KINDS], None, str(count))
        for word, count in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS]
    ]
    return bars(_title("Errors by word", len(total), _MOST_WORDS), "errors", _KINDS, rows)


def word_errors(clip: ClipScore) -> Iterator[tuple[str, str]]:
    """Each error of a recording: its kind, and the word of the reference, or the one that was put in."""
    reference, hypothesis = (spaced(text, clip.language) for text in (clip.reference, clip.hypothesis))
    found = process_words([reference], [hypothesis])
    kinds = {"substitute": "substitutions", "delete": "deletions", "insert": "insertions"}
    for chunk in found.alignments[0]:
        if chunk.type == "insert":
            words = found.hypotheses[0][chunk.hyp_start_idx : chunk.hyp_end_idx]
        else:
            words = found.references[0][chunk.ref_start_idx : chunk.ref_end_idx]
        if chunk.type in kinds:
            yield from ((kinds[chunk.type], word) for word in words)


def _title(what: str, number: int, most: int) -> str:
    return what if number <= most else f"{what}: {most} of {number}, those with the most"
