"""The names that programs import from the peers' modules, and what stands behind them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whisper_max.audio import vad as native_vad
from whisper_max.audio.vad_options import VAD_CHUNK
from whisper_max.checkpoint.files import ModelFiles
from whisper_max.compat import faster_whisper, whisper
from whisper_max.compat.faster_whisper import parts, tokenizer, transcribe, utils, vad
from whisper_max.compat.faster_whisper.audio import pad_or_trim
from whisper_max.compat.faster_whisper.feature_extractor import FeatureExtractor
from whisper_max.compat.faster_whisper.transcribe import Segment, WhisperModel, Word
from whisper_max.compat.whisper import downloads, timing
from whisper_max.compat.whisper.decoding import embed_audio
from whisper_max.compat.whisper.tokenizer import get_encoding, get_tokenizer
from whisper_max.errors import NotOfferedError, OptionError

HOMES = ("audio", "decoding", "timing", "tokenizer", "utils")
FRENCH = [8404, 871, 287, 6, 246, 526, 3210, 20378]  # " elle est l'\ufffdécritoire", of the multilingual vocabulary


# ---------------------------------------------------------------- faster_whisper


@pytest.fixture(scope="module")
def hub_tokenizer() -> tokenizer.HubTokenizer:
    return tokenizer.HubTokenizer(get_tokenizer(True).vocabulary)


def test_features_are_those_of_openai_whisper():
    sound = np.random.default_rng(0).normal(0, 0.1, 40000)
    for n_mels in (80, 128):
        extract = FeatureExtractor(n_mels, chunk_length=20)
        features = extract(sound)
        assert features.shape == (n_mels, (40000 + 160) // 160)
        np.testing.assert_array_equal(features, whisper.log_mel_spectrogram(sound.astype(np.float32), n_mels, 160))
        assert (extract.nb_max_frames, extract.n_samples, extract.time_per_frame) == (2000, 320000, 0.01)
        extract(sound, chunk_length=30)
        assert extract.nb_max_frames == 3000
    for name, value in {"sampling_rate": 8000, "hop_length": 80, "n_fft": 512}.items():
        with pytest.raises(OptionError, match=rf"^{name}: "):
            FeatureExtractor(**{name: value})
    assert pad_or_trim(features).shape == (128, 3000)
    assert pad_or_trim(features, 10, axis=0).shape == (10, 251)


def test_a_tokenizer_of_a_task_in_a_language(hub_tokenizer):
    german = tokenizer.Tokenizer(hub_tokenizer, True, "translate", "de")
    ours = get_tokenizer(True, language="de", task="translate")
    assert german.sot_sequence == list(ours.sot_sequence)
    assert (german.language, german.language_code, german.task) == (ours.language_token, "de", ours.translate)
    names = "transcribe translate sot sot_lm sot_prev eot no_timestamps no_speech timestamp_begin"
    for name in names.split():
        assert getattr(german, name) == getattr(ours, name)
    assert german.non_speech_tokens == ours.non_speech_tokens
    tokens = german.encode(" Grüße")
    assert german.decode([german.sot, *tokens, german.timestamp_begin]) == " Grüße"
    assert german.decode_with_timestamps([german.sot, german.timestamp_begin + 54, *tokens]) == "<|1.08|> Grüße"
    assert german.split_tokens_on_unicode(FRENCH)[0] == [" elle", " est", " l", "'", "\ufffd", "é", "rit", "oire"]
    words, word_tokens = german.split_to_word_tokens([*tokens, german.eot])
    assert (words, word_tokens[-1]) == ([" Grüße", ""], [german.eot])


def test_a_tokenizer_of_english_only_names_no_language(hub_tokenizer):
    english = tokenizer.Tokenizer(hub_tokenizer, False, "translate", "de")
    assert (english.sot_sequence, english.language_code, english.task) == ([english.sot], "en", None)


@pytest.mark.parametrize(
    ("arguments", "name"), [((True, "sing", "de"), "task"), ((True, "transcribe", "xx"), "language"), ((True,), "task")]
)
def test_what_there_is_not_is_refused_with_what_there_is(hub_tokenizer, arguments, name):
    with pytest.raises(ValueError, match=rf"^{name}: not a valid {name}: expected one of "):
        tokenizer.Tokenizer(hub_tokenizer, *arguments)
    with pytest.raises(OptionError, match=r"^tokenizer: not one of ours: .*found str"):
        tokenizer.Tokenizer("base", False)  # type: ignore[arg-type]


def test_the_hubs_tokenizer_counts_and_names_tokens(hub_tokenizer):
    text = hub_tokenizer.encode(" Hello", add_special_tokens=False).ids
    whole = hub_tokenizer.encode(" Hello").ids
    names = ["<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>"]
    assert whole == [*map(hub_tokenizer.token_to_id, names[:2]), *text, hub_tokenizer.token_to_id(names[2])]
    assert hub_tokenizer.decode(whole) == " Hello"
    assert hub_tokenizer.decode(whole, skip_special_tokens=False) == "".join([*names[:2], " Hello", names[2]])
    assert hub_tokenizer.token_to_id(" Hello") == text[0]
    assert hub_tokenizer.token_to_id("<|nothing|>") is None


def test_language_codes_are_whispers(hub_tokenizer):
    codes = tokenizer._LANGUAGE_CODES
    assert (len(codes), codes[:3], codes[-2:]) == (100, ("af", "am", "ar"), ("zh", "yue"))
    assert transcribe._LANGUAGE_CODES is codes


def test_suppressed_tokens_are_those_of_decoding(hub_tokenizer, native):
    some = tokenizer.Tokenizer(hub_tokenizer, False)
    special = (some.sot, some.translate, some.transcribe, some.sot_lm, some.sot_prev, some.no_speech)
    assert parts.get_suppressed_tokens(some, [13]) == tuple(sorted({13, *special}))
    everything = parts.get_suppressed_tokens(some, [-1])
    assert everything == tuple(sorted({*some.non_speech_tokens, *special}))


def test_the_attributes_of_a_model(native, monkeypatch):
    monkeypatch.setattr("whisper_max.load_model", lambda name, **how: native)
    model = WhisperModel("base")
    assert (model.frames_per_second, model.tokens_per_second, model.input_stride) == (100, 50, 2)
    assert (model.num_samples_per_token, model.time_precision) == (320, 0.02)
    assert (model.max_length, model.logger.name) == (native.dims.n_text_ctx, "faster_whisper")
    assert model.feature_extractor.mel_filters.shape == (native.dims.n_mels, 201)
    assert model.hf_tokenizer.vocabulary is native.vocabulary


def test_speech_by_the_names_of_the_peer(monkeypatch):
    monkeypatch.setattr(native_vad, "new_listener", lambda: lambda chunks: chunks[:, 0])
    sound = np.zeros(100 * VAD_CHUNK, np.float32)
    sound[20 * VAD_CHUNK : 60 * VAD_CHUNK] = 1
    options = vad.VadOptions(speech_pad_ms=0, min_silence_duration_ms=100)
    span = {"start": 20 * VAD_CHUNK, "end": 60 * VAD_CHUNK}
    assert vad.get_speech_timestamps(sound, options) == [span]
    assert vad.get_speech_timestamps(sound, speech_pad_ms=0, min_silence_duration_ms=100) == [span]
    assert vad.get_vad_model()(sound).tolist() == [0.0] * 20 + [1.0] * 40 + [0.0] * 40
    with pytest.raises(OptionError, match=r"^sampling_rate: "):
        vad.get_speech_timestamps(sound, options, 8000)
    with pytest.raises(OptionError, match=r"^num_samples: "):
        vad.get_vad_model()(sound, 256)


SPANS = [{"start": 100, "end": 300}, {"start": 400, "end": 500}, {"start": 900, "end": 1000}]


def test_speech_is_collected_in_pieces():
    sound = np.arange(1000, dtype=np.float32)
    (whole,), (about,) = vad.collect_chunks(sound, SPANS, 100)
    np.testing.assert_array_equal(whole, np.concatenate([sound[100:300], sound[400:500], sound[900:1000]]))
    assert about == {"offset": 0.0, "duration": 4.0, "segments": SPANS}
    pieces, about_each = vad.collect_chunks(sound, SPANS, 100, max_duration=3)
    assert [len(piece) for piece in pieces] == [300, 100]
    assert [(each["offset"], each["duration"]) for each in about_each] == [(0.0, 3.0), (3.0, 1.0)]
    assert [each["segments"] for each in about_each] == [SPANS[:2], SPANS[2:]]
    assert [len(piece) for piece in vad.collect_chunks(sound, SPANS, 100, max_duration=1)[0]] == [200, 100, 100]
    assert [len(piece) for piece in vad.collect_chunks(sound, [])[0]] == [0]


def test_times_in_speech_are_found_in_the_recording():
    times = vad.SpeechTimestampsMap(SPANS, 100)
    assert [times.get_original_time(each) for each in (0.0, 1.0, 2.0, 2.5, 3.5, 9.0)] == [1.0, 2.0, 4.0, 4.5, 9.5, 15.0]
    assert (times.get_original_time(2.0, is_end=True), times.get_original_time(2.0, chunk_index=0)) == (3.0, 3.0)
    assert (times.get_chunk_index(2.0), times.get_chunk_index(2.0, is_end=True)) == (1, 0)


def test_segments_of_speech_get_the_times_of_the_recording():
    def segment(start: float, end: float, *words: tuple[float, float]) -> Segment:
        timed = [Word(*each, "w", 1.0) for each in words] or None
        return Segment(1, 0, start, end, "w", [], 0.0, 1.0, 0.0, timed, 0.0)

    given = [segment(0.0, 2.0), segment(1.5, 3.5, (1.5, 1.9), (2.0, 2.4))]
    plain, worded = parts.restore_speech_timestamps(given, SPANS, 100)
    assert (plain.start, plain.end) == (1.0, 3.0)
    assert (worded.start, worded.end) == (2.5, 4.4)
    assert [(word.start, word.end) for word in worded.words] == [(2.5, 2.9), (4.0, 4.4)]


def test_marks_are_merged_in_dicts():
    words = [{"word": word, "tokens": [number]} for number, word in enumerate([" (", " so", ",", " it"])]
    parts.merge_punctuations(words, "(", ",")
    assert [each["word"] for each in words] == ["", " ( so,", "", " it"]
    assert [each["tokens"] for each in words] == [[], [0, 1, 2], [], [3]]


def test_small_names():
    assert utils._MODELS["base"] == "openai/whisper-base"
    assert list(utils._MODELS) == faster_whisper.available_models()
    assert list(utils.disabled_tqdm([1, 2])) == [1, 2]
    with pytest.raises(NotOfferedError, match=r"^get_assets_path: not offered"):
        utils.get_assets_path()
    assert parts.get_compression_ratio("a" * 100) > 2


# ---------------------------------------------------------------- whisper


def test_an_odd_median_along_the_last_axis():
    x = np.random.default_rng(2).normal(size=(2, 3, 40))
    filtered = timing.median_filter(x, 5)
    assert filtered[1, 2, 7] == np.median(x[1, 2, 5:10])
    assert filtered[0, 0, 0] == np.median([x[0, 0, 0], *x[0, 0, 1:3], *x[0, 0, 1:3]])
    for width in (0, 4):
        with pytest.raises(OptionError, match=r"^filter_width: "):
            timing.median_filter(x, width)


def test_the_cheapest_path():
    cost = np.ones((3, 4))
    for cell in ((0, 0), (1, 1), (1, 2), (2, 3)):
        cost[cell] = -1
    for path in (timing.dtw(cost), timing.dtw_cpu(cost)):
        assert path.tolist() == [[0, 1, 1, 2], [0, 1, 2, 3]]


@pytest.fixture
def heard(native):
    """A model, its tokenizer, and a window."""
    model = whisper.Whisper(native, "cpu")
    ours = whisper.tokenizer.Tokenizer(native.vocabulary, "en", "transcribe")
    return model, ours, np.random.default_rng(5).normal(size=(native.dims.n_mels, 3000)).astype(np.float32)


def test_words_are_timed_in_a_window(heard):
    model, ours, mel = heard
    tokens = ours.encode(" one two three")
    words = timing.find_alignment(model, ours, tokens, mel, 3000)
    assert [word.word for word in words] == [" one", " two", " three"]
    assert [token for word in words for token in word.tokens] == tokens
    assert all(0 <= word.start <= word.end <= 30 for word in words)
    assert timing.find_alignment(model, ours, [], mel, 3000) == []
    again = timing.find_alignment(model, ours, tokens, embed_audio(model, mel), 3000)
    assert again == words
    others: dict[str, Any] = {"medfilt_width": 5, "qk_scale": 2.0}
    for name, value in others.items():
        with pytest.raises(OptionError, match=rf"^{name}: "):
            timing.find_alignment(model, ours, tokens, mel, 3000, **{name: value})
    with pytest.raises(OptionError, match=r"^mel: "):
        timing.find_alignment(model, ours, tokens, np.stack([mel, mel]), 3000)


def test_segments_get_words_in_place(heard):
    model, ours, mel = heard
    first, second = ours.encode(" one two"), ours.encode(" three.")
    begin = ours.timestamp_begin
    segments: list[dict[str, Any]] = [
        {"seek": 0, "start": 0.0, "end": 4.0, "tokens": [begin, *first, begin + 200]},
        {"seek": 0, "start": 4.0, "end": 8.0, "tokens": [begin + 200, *second, begin + 400]},
    ]
    timing.add_word_timestamps(
        segments=segments, model=model, tokenizer=ours, mel=mel, num_frames=3000, last_speech_timestamp=0.0
    )
    assert [[word["word"] for word in each["words"]] for each in segments] == [[" one", " two"], [" three."]]
    assert {*segments[0]["words"][0]} == {"word", "start", "end", "probability"}
    assert segments[0]["end"] == segments[0]["words"][-1]["end"] or segments[0]["end"] == 4.0
    nothing: list[dict[str, Any]] = []
    timing.add_word_timestamps(
        segments=nothing, model=model, tokenizer=ours, mel=mel, num_frames=3000, last_speech_timestamp=0.0
    )
    assert nothing == []


def test_marks_are_merged_in_words():
    words = [timing.WordTiming(word, [1], 0.0, 1.0, 1.0) for word in (" so", ".")]
    timing.merge_punctuations(words, "", ".")
    assert [word.word for word in words] == [" so.", ""]


def test_tokenizers_have_the_peers_methods():
    ours = get_tokenizer(True)
    words = [" elle", " est", " l", "'", "\ufffd", "é", "rit", "oire"]
    assert ours.split_tokens_on_unicode(FRENCH) == (words, [[token] for token in FRENCH])
    assert ours.split_tokens_on_spaces(FRENCH)[0] == [" elle", " est", " l", "'\ufffdéritoire"]
    assert ours.special_tokens["<|startoftranscript|>"] == ours.sot
    assert ours.encoding.encode("Hello") == ours.encode("Hello")
    assert get_encoding("multilingual").n_vocab == ours.n_vocab
    assert get_encoding().encode("Hello") == get_tokenizer(False).encode("Hello")
    with pytest.raises(OptionError, match=r"^name: "):
        get_encoding("gpt4")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "transcribe",
            "FRAMES_PER_SECOND HOP_LENGTH LANGUAGES N_FRAMES N_SAMPLES SAMPLE_RATE TO_LANGUAGE_CODE DecodingOptions "
            "DecodingResult add_word_timestamps exact_div format_timestamp get_end get_tokenizer get_writer "
            "log_mel_spectrogram make_safe optional_float optional_int pad_or_trim str2bool",
        ),
        ("decoding", "CHUNK_LENGTH Tokenizer compression_ratio get_tokenizer"),
        ("timing", "HOP_LENGTH SAMPLE_RATE TOKENS_PER_SECOND"),
    ],
)
def test_what_the_peers_modules_import_can_be_had_from_them(module, names):
    ours = importlib.import_module(f"whisper_max.compat.whisper.{module}")
    homes = [importlib.import_module(f"whisper_max.compat.whisper.{home}") for home in HOMES]
    for name in names.split():
        assert any(getattr(ours, name) is getattr(home, name, None) for home in homes), name


def test_filters_of_the_spectrogram():
    filters = whisper.audio.mel_filters("cpu", 80)
    assert (filters.shape, filters.to("cpu") is filters) == ((80, 201), True)
    with pytest.raises(OptionError, match=r"^n_mels: "):
        whisper.audio.mel_filters("cpu", 81)


def test_models_are_downloaded_by_name(monkeypatch, tmp_path: Path):
    weights = tmp_path / "base" / "model.safetensors"
    asked: list[tuple[Any, ...]] = []

    def download(hub_id: str, *how: Any) -> ModelFiles:
        asked.append((hub_id, how[-1]))
        weights.parent.mkdir(exist_ok=True)
        weights.write_bytes(b"weights")
        return ModelFiles("safetensors", (weights,), {})

    monkeypatch.setattr(downloads, "download", download)
    assert whisper._download(whisper._MODELS["base"], str(tmp_path), False) == str(weights)
    assert whisper._download(whisper._MODELS["base"], str(tmp_path), True) == b"weights"
    assert asked == [("openai/whisper-base", tmp_path / "base")] * 2
    assert list(whisper._MODELS) == whisper.available_models()
    with pytest.raises(OptionError, match=r"^url: "):
        whisper._download("not a repository", str(tmp_path), False)
