"""How right a model is, and how fast: word and character error rates over a manifest of recordings.

A manifest has one JSON object a line: ``path`` (relative to the manifest, or a URL), ``transcript`` and ``language`` (a
code or name). Entries without a transcript can't be scored; entries without a language are detected; other keys are for
``Manifest.select``.

Texts are compared after the normalisation of the Whisper paper (arXiv:2212.04356, appendix C): the English one for
English, the basic one for the others, whose words are single characters in languages without spaces.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.api import Model
from whisper_max.errors import AudioError, OptionError, WhisperMaxError
from whisper_max.files.remote import is_remote, local_path
from whisper_max.text.languages import UNSPACED, language_code

if TYPE_CHECKING:
    from jiwer import CharacterOutput, WordOutput

_HINT = "pip install 'whisper-max[evaluate]'"


@dataclass(frozen=True)
class ManifestEntry:
    """A recording to score.

    name: its path or URL as the manifest has it. language: a code, or None to detect it. keys: all of its line.
    """

    path: Path | str
    name: str
    transcript: str
    language: str | None
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """entries: in the order of the file. n_skipped: those without a transcript."""

    entries: list[ManifestEntry]
    n_skipped: int = 0

    def select(self, wanted: Mapping[str, str] | None = None, limit: int | None = None) -> Manifest:
        """The entries whose keys have the wanted values (compared as text), and of those the first ``limit``.

        Raises:
            OptionError: none is left.
        """
        kept = [each for each in self.entries if all(str(each.keys.get(k)) == v for k, v in (wanted or {}).items())]
        if not kept[:limit]:
            filters = ", ".join(f"{key}={value}" for key, value in (wanted or {}).items()) or None
            raise OptionError("no recording with a transcript is left to score", where="manifest", expected=filters)
        return Manifest(kept[:limit], self.n_skipped)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        AudioError: no such file.
        OptionError: a line that is no entry; it is named by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        hint = "it has one JSON object a line: path, transcript, language"
        raise AudioError("the manifest can't be read", where=path, found=found, hint=hint) from error
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    entries = [_entry(line, f"{path}:{number}", path.parent) for number, line in numbered]
    scored = [entry for entry in entries if entry is not None]
    return Manifest(scored, len(entries) - len(scored))


def _entry(line: str, where: str, folder: Path) -> ManifestEntry | None:
    """One line of the manifest; None where it has no transcript."""
    try:
        keys = json.loads(line)
    except ValueError as error:
        raise OptionError("not JSON", where=where, found=error) from error
    if not isinstance(keys, dict):
        raise OptionError("not a JSON object", where=where, found=type(keys).__name__)
    for name, kinds in {"path": (str,), "transcript": (str, None), "language": (str, None)}.items():
        kind = None if keys.get(name) is None else type(keys[name])
        if kind not in kinds:
            raise OptionError(f"{name} is not text", where=where, found=repr(keys.get(name)))
    if keys.get("transcript") is None:
        return None
    language = keys.get("language")
    code = None if language is None else language_code(language, where=where)
    path = keys["path"] if is_remote(keys["path"]) else folder / local_path(keys["path"])
    return ManifestEntry(path, keys["path"], keys["transcript"], code, keys)


@dataclass(frozen=True)
class Errors:
    """Edits from reference to hypothesis, in words or in characters; n_reference: how many the reference has."""

    n_reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def rate(self) -> float | None:
        """Errors for each word or character of the reference; None where it has none."""
        errors = self.substitutions + self.deletions + self.insertions
        return errors / self.n_reference if self.n_reference else None

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """The errors by name, with their rate."""
        return {"rate": self.rate, **asdict(self)}


@dataclass(frozen=True)
class ClipScore:
    """One recording's score.

    language: that of the manifest, else the detected one. detected: what the model found although the manifest knows.
    seconds: of audio. elapsed: seconds it took to transcribe.
    """

    name: str
    language: str
    detected: str | None
    seconds: float
    elapsed: float
    reference: str
    hypothesis: str
    words: Errors
    characters: Errors

    def to_dict(self) -> dict[str, Any]:
        """The clip's figures by name, JSON-serialisable."""
        return {**vars(self), "words": self.words.to_dict(), "characters": self.characters.to_dict()}


@dataclass(frozen=True)
class Failure:
    """A recording that could not be transcribed, and why."""

    name: str
    error: str


class Normaliser:
    """The standard text normalisation, by language.

    Raises:
        OptionError: the extra ``evaluate`` is not installed.
    """

    def __init__(self) -> None:
        try:
            from whisper_normalizer.basic import BasicTextNormalizer
            from whisper_normalizer.english import EnglishTextNormalizer
        except ImportError as error:
            raise OptionError("scoring needs an extra", where="evaluate", found=error, hint=_HINT) from error
        self._english: Callable[[str], str] = EnglishTextNormalizer()
        self._basic: Callable[[str], str] = BasicTextNormalizer()

    def __call__(self, text: str, language: str) -> str:
        """A text as it is compared: words with one space between."""
        normalised = self._english(text) if language == "en" else self._basic(text)
        return " ".join(normalised.split())


def count_errors(reference: str, hypothesis: str, language: str) -> tuple[Errors, Errors]:
    """The word and the character errors of a normalised text.

    Raises:
        OptionError: the extra ``evaluate`` is not installed.
    """
    try:
        from jiwer import process_characters, process_words
    except ImportError as error:
        raise OptionError("scoring needs an extra", where="evaluate", found=error, hint=_HINT) from error
    characters = _errors(process_characters([reference], [hypothesis]))
    reference, hypothesis = spaced(reference, language), spaced(hypothesis, language)
    return _errors(process_words([reference], [hypothesis])), characters


def spaced(text: str, language: str) -> str:
    """A normalised text with spaces between what counts as a word: characters, in languages without spaces."""
    return " ".join(text.replace(" ", "")) if language in UNSPACED else text


def _errors(found: WordOutput | CharacterOutput) -> Errors:
    n_reference = found.hits + found.substitutions + found.deletions
    return Errors(n_reference, found.substitutions, found.deletions, found.insertions)


def evaluate(
    model: Model, entries: Iterable[ManifestEntry], options: Mapping[str, Any], *, detect: bool = False
) -> Iterator[ClipScore | Failure]:
    """Transcribe and score recordings, one after the other.

    Args:
        entries: what to score.
        options: of ``Model.transcribe``, without the language.
        detect: let the model find the language also where the manifest knows it.

    Yields:
        the score of each recording, or why there is none.

    Raises:
        OptionError: the extra ``evaluate`` is not installed.
    """
    normalise = Normaliser()
    for entry in entries:
        start = time.perf_counter()
        try:
            language = None if detect else entry.language
            result = model.transcribe(entry.path, language=language, **options)
        except WhisperMaxError as error:
            yield Failure(entry.name, str(error))
            continue
        elapsed = time.perf_counter() - start
        language = entry.language or result.language
        reference, hypothesis = (normalise(text, language) for text in (entry.transcript, result.text))
        words, characters = count_errors(reference, hypothesis, language)
        detected = result.language if detect and entry.language is not None else None
        yield ClipScore(
            entry.name, language, detected, result.duration, elapsed, reference, hypothesis, words, characters
        )


@dataclass(frozen=True)
class Score:
    """What recordings add up to: rates are of all their words or characters, not means over recordings."""

    clips: Sequence[ClipScore]

    @cached_property
    def words(self) -> Errors:
        """The word errors of all."""
        return sum((clip.words for clip in self.clips), Errors())

    @cached_property
    def characters(self) -> Errors:
        """The character errors of all."""
        return sum((clip.characters for clip in self.clips), Errors())

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)

    @property
    def elapsed(self) -> float:
        """Seconds of transcribing."""
        return sum(clip.elapsed for clip in self.clips)

    @property
    def speed(self) -> float:
        """Seconds of audio in a second."""
        return self.seconds / self.elapsed if self.elapsed else 0.0

    def by_language(self) -> dict[str, Score]:
        """The score of each language, most recordings first."""
        codes = [clip.language for clip in self.clips]
        ordered = sorted(set(codes), key=lambda code: (-codes.count(code), code))
        return {code: Score([clip for clip in self.clips if clip.language == code]) for code in ordered}

    def to_dict(self) -> dict[str, Any]:
        """The sums by name, JSON-serialisable."""
        return {
            "clips": len(self.clips),
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "speed": self.speed,
            "wer": self.words.to_dict(),
            "cer": self.characters.to_dict(),
        }
