"""Write what openai-whisper's own decoding and transcribe() make of the fake model, as expectations for the tests.

    python scripts/reference/dump_decoding_reference.py

Needs openai-whisper and PyTorch. The fake model of ``tests/support/fake_inference.py`` takes the place of the network;
every rule, search, fallback and seek is openai-whisper's.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import tiktoken
import torch
import whisper.decoding
import whisper.timing
import whisper.tokenizer
import whisper.transcribe  # the package's attribute of this name is the function, not the module
from numpy.typing import NDArray

TRANSCRIBE: Any = sys.modules["whisper.transcribe"]
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, attention_scores, checksum, fake_mel, model_logits  # noqa: E402
from tests.support.synthetic_vocabulary import synthetic_ranks  # noqa: E402
from whisper_max.dims import ModelDimensions  # noqa: E402

N_DECODINGS = 300
N_TRANSCRIPTIONS = 130
N_TIMED = 90  # of which with word timestamps, after those without


def fake_encoding(name: str, num_languages: int = 99) -> tiktoken.Encoding:
    """openai-whisper's special tokens over the synthetic vocabulary."""
    ranks = synthetic_ranks(50257 if name == "multilingual" else 50256)
    names = ["<|endoftext|>", "<|startoftranscript|>"]
    names += [f"<|{code}|>" for code in list(whisper.tokenizer.LANGUAGES)[:num_languages]]
    names += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    names += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(1501))]
    special = {token: len(ranks) + i for i, token in enumerate(names)}
    return tiktoken.Encoding(
        name=name,
        explicit_n_vocab=len(ranks) + len(special),
        pat_str=r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks=ranks,
        special_tokens=special,
    )


ENCODINGS = {name: fake_encoding(name) for name in ("multilingual", "gpt2")}
whisper.tokenizer.get_encoding = lambda name, num_languages: ENCODINGS[name]


class FakeCrossAttention:
    """Where the alignment code hangs its hook."""

    hook: Callable[..., object]

    def register_forward_hook(self, hook: Callable[..., object]) -> FakeCrossAttention:
        self.hook = hook
        return self

    def remove(self) -> None:
        del self.hook


class FakeModel:
    """The fake model with openai-whisper's face."""

    device = torch.device("cpu")

    def __init__(self, dims: ModelDimensions) -> None:
        self.dims = dims
        self.is_multilingual = dims.is_multilingual
        self.num_languages = dims.num_languages
        self.cross_attn = FakeCrossAttention()
        self.decoder = SimpleNamespace(blocks=[SimpleNamespace(cross_attn=self.cross_attn)])
        self.alignment_heads = torch.ones(1, 3).to_sparse()

    def __call__(self, mel: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """(1, n_tokens, n_vocab) logits; the attention scores go to the hook."""
        history = tokens[0].tolist()
        scores = attention_scores(checksum(mel[0].numpy()), history)
        self.cross_attn.hook(None, None, (None, torch.from_numpy(scores)[None]))
        features = self.encoder(mel)
        return torch.stack([self.at(features, 0, history[: i + 1]) for i in range(len(history))])[None]

    def encoder(self, mel: torch.Tensor) -> torch.Tensor:
        """Features that carry nothing but the checksum of each window."""
        features = torch.zeros(mel.shape[0], self.dims.n_audio_ctx, self.dims.n_audio_state)
        for row, window in zip(features, mel, strict=True):
            row[0] = torch.tensor(divmod(checksum(window.numpy()), 65536), dtype=torch.float32)
        return features

    def logits(self, tokens: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(n, 1, n_vocab): the logits at the last token."""
        return torch.stack([self.at(features, row, tokens[row].tolist())[None] for row in range(len(tokens))])

    def at(self, features: torch.Tensor, row: int, history: list[int]) -> torch.Tensor:
        high, low = features[row if len(features) > 1 else 0, 0].tolist()
        return torch.from_numpy(model_logits(self.dims, int(high) * 65536 + int(low), history))

    def decode(self, mel: torch.Tensor, options: Any) -> Any:  # noqa: ANN401 - openai-whisper's own
        """Decode with random streams known by the seek of the calling transcribe()."""
        seek = sys._getframe(2).f_locals["seek"]
        return decode(self, mel, options, (seek,))

    def detect_language(self, mel: torch.Tensor, tokenizer: object = None) -> object:
        return whisper.decoding.detect_language(self, mel, tokenizer)


class LazyLogits:
    """(n, n_tokens, n_vocab) logits of which a position is computed when asked for."""

    def __init__(self, model: FakeModel, tokens: torch.Tensor, features: torch.Tensor) -> None:
        self.parts = model, tokens, features

    def __getitem__(self, key: tuple[slice, int]) -> torch.Tensor:
        model, tokens, features = self.parts
        end = tokens.shape[1] + key[1] + 1 if key[1] < 0 else key[1] + 1
        return torch.stack([model.at(features, row, tokens[row, :end].tolist()) for row in range(len(tokens))])


class FakeInference(whisper.decoding.Inference):  # type: ignore[misc] # openai-whisper has no types
    """Full histories in, logits out."""

    def __init__(self, model: FakeModel, initial_token_length: int) -> None:
        self.model = model

    def logits(self, tokens: torch.Tensor, audio_features: torch.Tensor) -> LazyLogits:
        return LazyLogits(self.model, tokens, audio_features)

    def rearrange_kv_cache(self, source_indices: list[int]) -> None:
        pass


class StreamedCategorical:
    """torch.distributions.Categorical, drawing from given random streams by inverting the distribution function."""

    streams: ClassVar[list[np.random.Generator]] = []

    def __init__(self, logits: torch.Tensor) -> None:
        self.probs = torch.softmax(logits.double(), dim=-1).numpy().cumsum(axis=-1)

    def sample(self) -> torch.Tensor:
        return torch.tensor([self.draw(row, stream) for row, stream in zip(self.probs, self.streams, strict=True)])

    @staticmethod
    def draw(cumulative: NDArray[np.float64], stream: np.random.Generator) -> int:
        point = float(stream.random(dtype=np.float32))
        tokens = {int(np.searchsorted(cumulative, point + change, side="right")) for change in (-2e-6, 0.0, 2e-6)}
        if len(tokens) > 1:
            raise UndecidedError
        return tokens.pop()


class UndecidedError(Exception):
    """A draw so near to the border between two tokens that float32 rounding decides."""


whisper.decoding.PyTorchInference = FakeInference
whisper.decoding.Categorical = StreamedCategorical


def decode(model: FakeModel, mel: torch.Tensor, options: Any, stream: tuple[int, ...], seed: int = 0) -> Any:  # noqa: ANN401
    """openai-whisper's decode() with random streams of the kind described in ``whisper_max.decode.search``."""
    bits = int(np.float64(options.temperature).view(np.uint64))
    StreamedCategorical.streams = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream, bits, hyp])))
        for hyp in range(options.best_of or 1)
    ]
    return whisper.decoding.decode(model, mel, options)


def random_decoding(rng: random.Random) -> dict[str, Any]:
    """Random options of one decoding."""
    options: dict[str, Any] = {}
    if rng.random() < 0.35:
        options["beam_size"] = rng.choice([1, 2, 3, 5])
        if rng.random() < 0.5:
            options["patience"] = rng.choice([0.6, 1.0, 2.0])
    elif rng.random() < 0.4:
        options["temperature"] = rng.choice([0.2, 0.6, 1.0])
        if rng.random() < 0.6:
            options["best_of"] = rng.choice([1, 2, 5])
    draw: dict[str, Callable[[], Any]] = {
        "language": lambda: rng.choice(["en", "ja", "su", None]),
        "task": lambda: rng.choice(["transcribe", "translate"]),
        "length_penalty": lambda: rng.choice([0.0, 0.6, 1.0]),
        "sample_len": lambda: rng.choice([1, 5, 30, 300]),
        "prompt": lambda: rng.choice(["", " some words before", [5, 400, 3000] * rng.choice([1, 60, 80])]),
        "prefix": lambda: rng.choice([" so it begins", [9, 8, 7]]),
        "suppress_tokens": lambda: rng.choice(["-1", "", None, [7, 300], "-1,40", [-1, 50]]),
        "suppress_blank": lambda: False,
        "without_timestamps": lambda: True,
        "max_initial_timestamp": lambda: rng.choice([None, 0.0, 0.5, 40.0]),
    }
    for name, value in draw.items():
        if rng.random() < 0.25:
            options[name] = value()
    options.setdefault("language", "en")
    return options


def random_transcription(rng: random.Random, n_frames: int) -> dict[str, Any]:
    """Random options of one transcription."""
    draw: dict[str, Callable[[], Any]] = {
        "language": lambda: rng.choice(["en", "fr"]),
        "temperature": lambda: rng.choice([0.0, 0.4, [0.0, 0.6], [0.0, 0.4, 1.0]]),
        "compression_ratio_threshold": lambda: rng.choice([None, 1.0, 1.3]),
        "logprob_threshold": lambda: rng.choice([None, -0.5]),
        "no_speech_threshold": lambda: rng.choice([None, 0.1, 0.9]),
        "condition_on_previous_text": lambda: False,
        "initial_prompt": lambda: rng.choice([" a name", " many" * 80, " too many words" * 70]),
        "clip_timestamps": lambda: ",".join(
            str(round(rng.uniform(0, n_frames / 100), 2)) for _ in range(rng.choice([1, 2, 2, 3, 4]))
        ),
        "best_of": lambda: 2,
        "beam_size": lambda: 2,
        "prefix": lambda: " so",
        "without_timestamps": lambda: True,
        "suppress_blank": lambda: False,
        "sample_len": lambda: rng.choice([3, 60]),
        "max_initial_timestamp": lambda: None,
        "task": lambda: "translate",
    }
    options = {name: value() for name, value in draw.items() if rng.random() < 0.2}
    if "clip_timestamps" in options:
        points = sorted(float(point) for point in options["clip_timestamps"].split(","))
        options["clip_timestamps"] = ",".join(map(str, points))
    if "initial_prompt" in options:
        options["carry_initial_prompt"] = rng.random() < 0.5
    return options


def decodings(rng: random.Random) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    while len(out) < N_DECODINGS:
        options = random_decoding(rng)
        english = rng.random() < 0.2
        if english:
            options = {**options, "language": "en", "task": "transcribe"}
        key = rng.randrange(10_000)
        mel = torch.from_numpy(fake_mel(0, key)[:, :3000])
        parsed = whisper.decoding.DecodingOptions(**options, fp16=False)
        try:
            result = decode(FakeModel(ENGLISH_DIMS if english else DIMS), mel, parsed, (key,))
        except (ZeroDivisionError, UndecidedError):  # openai-whisper divides by the length of an empty transcript
            continue
        names = ["language", "tokens", "text", "avg_logprob", "no_speech_prob", "temperature", "compression_ratio"]
        expected = {name: getattr(result, name) for name in names}
        out.append({"key": key, "english": english, "options": options, "expected": rounded(expected)})
    return out


def transcriptions(rng: random.Random) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    while len(out) < N_TRANSCRIPTIONS:
        n_frames = rng.choice([rng.choice([0, 1, 57, 2999, 3000, 3001]), 1100, *rng.sample(range(9_000), 3)])
        options = random_transcription(rng, n_frames)
        if len(out) >= N_TRANSCRIPTIONS - N_TIMED:
            options["word_timestamps"] = True
            if rng.random() < 0.4:
                options["hallucination_silence_threshold"] = rng.choice([0.1, 0.3, 1.0, 3.0])
            if rng.random() < 0.2:
                options |= {"prepend_punctuations": "<$", "append_punctuations": ":0"}
            options.setdefault("language", rng.choice(["en", "zh"]))
        english = rng.random() < 0.15
        if english:
            options = {name: value for name, value in options.items() if name not in ("language", "task")}
        key = rng.randrange(10_000)
        TRANSCRIBE.log_mel_spectrogram = lambda *_, n=n_frames, key=key, **__: torch.from_numpy(fake_mel(n, key))
        try:
            result = TRANSCRIBE.transcribe(FakeModel(ENGLISH_DIMS if english else DIMS), None, **options, fp16=False)
        except (ZeroDivisionError, UndecidedError, TooShortError):
            continue
        result["segments"] = [compact(segment) for segment in result["segments"]]
        out.append(
            {"key": key, "n_frames": n_frames, "english": english, "options": options, "expected": rounded(result)}
        )
    return out


class TooShortError(Exception):
    """A window of fewer than two encoder positions, where openai-whisper divides by zero and gives negative times."""


def add_word_timestamps(*, num_frames: int, **others: object) -> None:
    if num_frames < 4:
        raise TooShortError
    whisper.timing.add_word_timestamps(num_frames=num_frames, **others)


TRANSCRIBE.add_word_timestamps = add_word_timestamps


def compact(segment: dict[str, Any]) -> list[Any]:
    """A segment's values in order, its tokens and its words; no text, for it follows from the tokens."""
    names = ["id", "seek", "start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"]
    words = [
        [word["word"], *(float(word[name]) for name in ("start", "end", "probability"))]
        for word in segment.get("words", [])
    ]
    return [*(float(segment[name]) for name in names), " ".join(map(str, segment["tokens"])), words]


def rounded(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    """Floats to 6 decimals, through lists and dicts."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def write(path: Path, scenarios: list[dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(scenario, ensure_ascii=False) for scenario in scenarios)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(path, len(scenarios), path.stat().st_size)


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        write(ROOT / "tests" / "decode" / "data" / "openai_decodings.json", decodings(random.Random(1)))
        write(ROOT / "tests" / "transcribe" / "data" / "openai_transcriptions.json", transcriptions(random.Random(2)))


if __name__ == "__main__":
    main()
