"""Bundles and quantised files: what is written is read, and what is damaged is refused. No compiler runs here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from max.dtype import DType
from safetensors import safe_open

from whisper_max.checkpoint import Checkpoint, Tensors, Vocabulary, read_checkpoint
from whisper_max.checkpoint.layout import tensor_shapes
from whisper_max.checkpoint.own_format import OwnModel, is_matrix, read_own_format, write_own_format
from whisper_max.checkpoint.tensors import ComputedTensor
from whisper_max.checkpoint.vocabulary import Tokens
from whisper_max.commands.main import main
from whisper_max.compile import build
from whisper_max.compile import bundle as bundle_module
from whisper_max.compile.bundle import ARTIFACTS, MANIFEST, WEIGHTS, read_bundle, write_bundle
from whisper_max.dims import ModelDimensions
from whisper_max.engine.storage import compute_type_for, narrowest_exact
from whisper_max.engine.weights import quantized
from whisper_max.errors import ArtifactError, CheckpointError, OptionError
from whisper_max.hardware import processors
from whisper_max.hardware.processors import cpu_codes, target_code
from whisper_max.hardware.target import Target

DIMS = ModelDimensions(8, 20, 64, 1, 1, 300, 16, 64, 1, 2)
RANKS = {bytes([byte]): byte for byte in range(256)} | {b"th": 256}
VOCABULARY = Vocabulary(Tokens.of(RANKS), {"<|endoftext|>": 257})
HEADS = ((0, 0), (1, 0))
V3 = Target(None, DType.float32, None, ("cpu:x86-64-v3",))


def model(seed: int = 0, exact: bool = True) -> OwnModel:
    random = np.random.default_rng(seed)
    tensors = {name: random.standard_normal(shape, np.float32) for name, shape in tensor_shapes(DIMS).items()}
    if exact:
        tensors = {name: array.astype(np.float16).astype(np.float32) for name, array in tensors.items()}
    tensors["encoder.blocks.0.mlp.0.weight"][3] = 0  # an output that is always zero
    entries = {name: ComputedTensor(values) for name, values in tensors.items()}
    return OwnModel(DIMS, Tensors(entries), VOCABULARY, HEADS, "random")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "int8.safetensors"
    write_own_format(path, model(), quantized)
    return path


# ---------------------------------------------------------------- our own format


@pytest.mark.parametrize("exact", [True, False])
def test_what_is_written_without_quantising_is_read_bit_for_bit(tmp_path: Path, exact: bool):
    path, original = tmp_path / "m.safetensors", model(exact=exact)
    write_own_format(path, original)
    read = read_own_format(path)
    assert (read.dims, read.vocabulary, read.alignment_heads, read.name) == (DIMS, VOCABULARY, HEADS, "random")
    assert not read.tensors.quantized
    for name, array in original.tensors.items():
        assert read.tensors.dtype(name) == ("float16" if exact else read.tensors.dtype(name))
        assert np.array_equal(read.tensors[name], array)


def test_the_same_model_makes_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_own_format(tmp_path / f"{name}.safetensors", model(), quantized)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_safetensors_library_reads_it(file: Path):
    original = model()
    with safe_open(file, framework="numpy") as stored:
        assert set(stored.keys()) == {
            *original.tensors, "vocabulary",
            *(name[:-6] + "scale" for name in original.tensors if is_matrix(name, original.tensors.shape(name))),
        }  # fmt: skip
        values, scale = quantized(original.tensors["decoder.token_embedding.weight"])
        assert np.array_equal(stored.get_tensor("decoder.token_embedding.weight"), values)
        assert np.array_equal(stored.get_tensor("decoder.token_embedding.scale"), scale)
        assert stored.get_tensor("encoder.conv1.weight").shape == (64, 8, 3)


def test_quantising_what_is_quantised_changes_not_one_bit(file: Path):
    original, read = model(), read_own_format(file)
    assert read.tensors.quantized
    for name, array in original.tensors.items():
        if is_matrix(name, array.shape):
            once, again = (quantized(t[name].reshape(len(array), -1)) for t in (original.tensors, read.tensors))
            assert np.array_equal(once[0], again[0])
            assert np.array_equal(once[1].view(np.uint32), again[1].view(np.uint32))


def test_every_scale_survives():
    """float32(127 * s) / 127 is s for each of the 2**23 values of s that a largest magnitude can give."""
    largest = (np.arange(1 << 23, dtype=np.uint32) | np.uint32(0x3F800000)).view(np.float32)
    scale = largest / np.float32(127)
    assert np.array_equal(np.float32(127) * scale / np.float32(127), scale)


def edited(path: Path, edit, data: bytes | None = None) -> Path:
    """The file with its header changed."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    edit(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + (raw[8 + length :] if data is None else data))
    return path


def rename(old: str, new: str):
    return lambda header: header.update({new: header.pop(old)})


SCALE, MATRIX = "decoder.blocks.0.attn.key.scale", "decoder.blocks.0.attn.key.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rename(SCALE, "other.scale"), r"tensors are missing: 1 \(decoder.blocks.0.attn.key.scale\)"),
        (rename(MATRIX, "other.weight"), "int8 in some matrices only"),
        (lambda h: h[MATRIX].update(dtype="U8"), "int8 in some matrices only"),
        (lambda h: h[MATRIX].update(shape=[32, 128]), "attn.key.weight has the wrong shape"),
        (lambda h: h[SCALE].update(dtype="F16", shape=[128]), "attn.key.scale has the wrong dtype"),
        (lambda h: h[SCALE].update(shape=[2, 32]), "attn.key.scale has the wrong shape"),
        (lambda h: h["__metadata__"].update(version="2"), "another version of the format: expected 1, found 2"),
        (lambda h: h["__metadata__"].pop("dims"), "no dims in the metadata"),
        (lambda h: h["__metadata__"].update(dims="[" * 100_000), "no dims in the metadata"),
        (lambda h: h["__metadata__"].update(dims="9" * 5000), "no dims in the metadata"),
        (lambda h: h["__metadata__"].update(name="[[[[[]]]]]"), "impossible name in the metadata"),
        (lambda h: h["__metadata__"].update(alignment_heads="[[[[[]]]]]"), "impossible alignment_heads"),
        (lambda h: h["__metadata__"].update(dims="{}"), "the checkpoint's dims have the wrong keys"),
        (lambda h: h["__metadata__"].update(alignment_heads="[[9,9]]"), "impossible alignment_heads"),
        (lambda h: h["__metadata__"].update(special_tokens='{"a":"b"}'), "impossible special_tokens"),
        (rename("vocabulary", "vocab"), "no vocabulary inside"),
        (lambda h: h["vocabulary"].update(dtype="I8"), "vocabulary has the wrong dtype"),
        (lambda h: h["decoder.ln.weight"].update(dtype="I16"), "decoder.ln.weight has the wrong dtype"),
    ],
)  # fmt: skip
def test_a_defect_is_refused_by_name(file: Path, edit, message: str):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(edited(file, edit))


def test_an_extra_tensor_is_refused(file: Path):
    def add(header):
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        header["spare"] = {"dtype": "I8", "shape": [4], "data_offsets": [end, end + 4]}

    raw = file.read_bytes()
    data = raw[8 + int.from_bytes(raw[:8], "little") :] + bytes(4)
    with pytest.raises(CheckpointError, match=r"tensors are unexpected: 1 \(spare\)"):
        read_checkpoint(edited(file, add, data))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_refused(tmp_path: Path, value: float):
    def bad(matrix):
        values, scale = quantized(matrix)
        scale[0] = value
        return values, scale

    write_own_format(tmp_path / "m.safetensors", model(), bad)
    with pytest.raises(CheckpointError, match="impossible scales"):
        read_own_format(tmp_path / "m.safetensors")


def test_a_cut_file_is_refused(file: Path):
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="not a sound safetensors file"):
        read_checkpoint(file)


def test_int8_weights_run_as_int8_unless_they_are_to_be_widened(file: Path):
    checkpoint = read_checkpoint(file)
    assert {compute_type_for(checkpoint, asked) for asked in ("auto", "int8")} == {"int8"}
    assert compute_type_for(checkpoint, "float32") == "float32"
    assert narrowest_exact(checkpoint) == DType.float32


def test_quantize_on_the_command_line(tmp_path: Path, capsys):
    source, target = tmp_path / "m.safetensors", tmp_path / "out.safetensors"
    write_own_format(source, model())
    assert main(["quantize", str(source), str(target)]) == 0
    assert read_own_format(target).tensors.quantized
    assert capsys.readouterr().err == f"{target}: 0 MB; load it by this path\n"
    assert main(["quantize", str(source), str(tmp_path / "out.bin")]) == 2


# ---------------------------------------------------------------- bundles


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A compiler that writes a key's name."""
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "compile_artifact", lambda key, report: key.file_name.encode())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    write_own_format(tmp_path / "source.safetensors", model())
    return read_checkpoint(tmp_path / "source.safetensors")


@pytest.fixture
def folder(compiled, checkpoint, tmp_path) -> Path:
    target = tmp_path / "bundle"
    lines: list[str] = []
    write_bundle(checkpoint, target, ["cpu:x86-64-v3", "cpu:x86-64-v4"], "auto", DType.float16, lines.append)
    return target


def test_a_bundle_holds_all_that_is_needed(folder: Path, checkpoint: Checkpoint):
    bundle = read_bundle(folder)
    assert bundle.kinds == {"cpu"}
    artifacts = bundle.artifacts_for(V3)
    assert sorted(path.suffix for path in artifacts.iterdir()) == [".json", ".wmx", ".wmx"]
    read = read_checkpoint(bundle.files())
    assert (read.dims, read.vocabulary, read.alignment_heads, read.name) == (DIMS, VOCABULARY, HEADS, "random")
    assert all(np.array_equal(read.tensors[name], checkpoint.tensors[name]) for name in checkpoint.tensors)
    listed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    assert set(bundle.manifest["files"]) == listed


def test_a_bundle_of_int8_has_int8_weights(compiled, checkpoint, tmp_path):
    write_bundle(checkpoint, tmp_path / "b", ["cpu:x86-64-v3"], "int8", DType.float16, lambda line: None)
    assert read_checkpoint(read_bundle(tmp_path / "b").files()).tensors.quantized


def test_anything_else_is_no_bundle(tmp_path):
    assert read_bundle(tmp_path) is None
    assert read_bundle("base") is None


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_damaged_weights(folder):
    flip(folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"damaged or not what its name says.*copy the bundle again"):
        read_checkpoint(read_bundle(folder).files())


def test_missing_weights(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="the bundle lacks its weights"):
        read_bundle(folder).files()


def artifact(folder: Path) -> Path:
    return next(path for path in (folder / ARTIFACTS).iterdir() if "v3" in path.name)


def test_damaged_graphs(folder):
    flip(artifact(folder))
    with pytest.raises(ArtifactError, match="the compiled graphs are damaged"):
        read_bundle(folder).artifacts_for(V3)


def test_missing_graphs(folder):
    artifact(folder).unlink()
    with pytest.raises(ArtifactError, match="the bundle lacks compiled graphs"):
        read_bundle(folder).artifacts_for(V3)


def test_a_processor_without_the_features(folder, monkeypatch):
    monkeypatch.setattr(processors, "cpu_flags", lambda: processors.PORTABLE_CPUS["x86-64-v3"] - {"avx2", "fma"})
    expected = "no compiled graphs that run here.*no avx2 fma for cpu:x86-64-v3"
    with pytest.raises(ArtifactError, match=expected):
        read_bundle(folder).artifacts_for(replace(V3, codes=("cpu:native-x86_64-0",)))


def test_a_compute_type_that_it_was_not_made_for(folder):
    with pytest.raises(ArtifactError, match=r"expected cpu:x86-64-v3, weights int8, found cpu:x86-64-v3 \(float16\)"):
        read_bundle(folder).artifacts_for(replace(V3, storage=DType.int8))


def test_a_bundle_of_int8_is_not_for_wider_weights(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest_with(folder, artifacts=[{**entry, "storage": "int8"} for entry in manifest["artifacts"]])
    with pytest.raises(ArtifactError, match=r"weights as they are, found cpu:x86-64-v3 \(int8\)"):
        read_bundle(folder).artifacts_for(V3)


def manifest_with(folder: Path, **changes) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_another_version_of_max(folder):
    manifest_with(folder, max="1.0")
    with pytest.raises(ArtifactError, match=r"another version of MAX: expected \d.*, found 1\.0"):
        read_bundle(folder).artifacts_for(V3)


def test_graphs_of_another_version(folder):
    entries = json.loads((folder / MANIFEST).read_text())["artifacts"]
    manifest_with(folder, artifacts=[{**entry, "graphs": "0" * 64} for entry in entries])
    with pytest.raises(ArtifactError, match=r"another version of whisper_max: .*found graphs 000000000000"):
        read_bundle(folder).artifacts_for(V3)


UNKNOWN_STORAGE = {
    "file": "artifacts/a.wmx", "code": "cpu:x86-64-v3", "dtype": "float32", "storage": "__class__",
    "compute_type": "auto", "graphs": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "another version of the format: expected 2, found 1; export the bundle again"),
        ({"version": [[[]]]}, "another version of the format: expected 2, found a value of type list"),
        ({"format": "something"}, "not the manifest of a bundle"),
        ({"files": {}}, "the bundle's manifest is damaged"),
        ({"artifacts": [{"file": "../a.wmx"}]}, "the bundle's manifest is damaged|not the manifest of a bundle"),
        ({"max": None}, "not the manifest of a bundle"),
        (
            {"artifacts": [UNKNOWN_STORAGE], "files": {WEIGHTS: {"sha256": ""}, "artifacts/a.wmx": {"sha256": ""}}},
            "not the manifest of a bundle",
        ),
        ({"dims": {"n_mels": 80}}, "the bundle's manifest is damaged"),
        ({"dims": {**asdict(DIMS), "n_audio_layer": 10**9}}, "impossible n_audio_layer"),
    ],
)
def test_a_damaged_manifest(folder, changes, message):
    manifest_with(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_bundle(folder)


def test_a_manifest_that_is_cut(folder):
    (folder / MANIFEST).write_text('{"format":')
    with pytest.raises(CheckpointError, match="the bundle's manifest is damaged"):
        read_bundle(folder)


def test_a_manifest_that_is_nested_without_end(folder):
    (folder / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="the bundle's manifest is damaged"):
        read_bundle(folder)


def test_a_bundle_replaces_a_bundle_and_nothing_else(compiled, checkpoint, folder, tmp_path):
    write_bundle(checkpoint, folder, ["cpu:x86-64-v3"], "auto", DType.float16, lambda line: None)
    assert len(list((folder / ARTIFACTS).glob("*.wmx"))) == 1
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(OptionError, match=r"not an empty folder and not a bundle: found thesis\.txt"):
        write_bundle(checkpoint, tmp_path / "home", ["cpu:native"], "auto", DType.float16, lambda line: None)


def test_a_bundle_that_was_not_finished_is_none(compiled, checkpoint, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "write_own_format", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write_bundle(checkpoint, tmp_path / "b", ["cpu:native"], "auto", DType.float16, lambda line: None)
    assert read_bundle(tmp_path / "b") is None


# ---------------------------------------------------------------- compile


def test_compile_on_the_command_line(compiled, tmp_path, capsys):
    arguments = ["compile", "tiny", "-o", str(tmp_path / "out"), "--target", "cpu:x86-64-v3", "cuda:sm_90a"]
    for _ in range(2):
        assert main(arguments) == 0
    listed = json.loads((tmp_path / "out" / "artifacts.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wmx")) == sorted(listed)
    assert {(entry["code"], entry["dtype"], entry["storage"]) for entry in listed.values()} == {
        ("cpu:x86-64-v3", "float32", "float16"),
        ("gpu:sm_90a", "bfloat16", "bfloat16"),
    }
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] cpu:x86-64-v3"
    assert lines[-3].startswith("[2/2] cuda:sm_90a: ")
    assert lines[-3].endswith(" is there")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "cpu:z80"], "cpu:z80: unknown target"),
        (["--target", "cuda:fast"], "cuda:fast: unknown target"),
        (["--target", "cuda:gfx942"], "cuda:gfx942: unknown target"),
        (["--target", "hip:sm_90a"], "or another cuda:sm_N or hip:gfxN"),
        (["--target", "cuda:sm_80", "--compute_type", "int8"], "compute_type: not available on a GPU"),
        (["--target", "cpu:x86-64-v3", "--compute_type", "bfloat16"], "compute_type: not available on a CPU"),
    ],
)
def test_what_can_not_be_compiled(compiled, tmp_path, capsys, arguments, message):
    assert main(["compile", "tiny", "-o", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_targets_by_name():
    assert target_code("gpu:sm_80") == target_code("cuda:sm_80") == "gpu:sm_80"
    assert target_code("gpu:gfx942") == target_code("hip:gfx942") == "gpu:gfx942"
    assert target_code("hip:gfx90a") == "gpu:gfx90a"
    assert target_code("cpu:native") == cpu_codes()[0]
    assert target_code("cpu:neoverse-n1") == "cpu:neoverse-n1"


@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3", "neoverse-n1"])
def test_a_processor_runs_what_it_has_the_features_for(monkeypatch, level):
    flags = processors.PORTABLE_CPUS[level]
    monkeypatch.setattr(processors, "cpu_flags", lambda: flags)
    native, *portable = cpu_codes()
    assert native.startswith("cpu:native-")
    assert portable[0] == f"cpu:{level}"
    assert processors.missing_features("cpu:x86-64-v3") == ([] if "x86" in level else sorted(processors._V3_FLAGS))
