"""MLX's folders: names, convolutions with their taps first, groups of 2 to 8 bits; compared with MLX 0.32 once."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.tensors import Stored
from whisper_max.errors import CheckpointError

GROUP = 32


@pytest.fixture
def dims(writers):
    return replace(writers.dims, n_audio_state=32, n_text_state=32)


@pytest.fixture
def state(writers, dims):
    return writers.random_state(dims)


def to_mlx(state):
    return {
        name.replace("mlp.0", "mlp1").replace("mlp.2", "mlp2"): array.swapaxes(1, 2) if array.ndim == 3 else array
        for name, array in state.items()
        if name != "encoder.positional_embedding"
    }


def quantise(array, bits):
    """As MLX packs it: the first element in the lowest bits; and what the packed values stand for."""
    groups = array.reshape(len(array), -1, GROUP)
    low, high = groups.min(axis=-1), groups.max(axis=-1)
    scales = np.maximum((high - low) / (2**bits - 1), 1e-3).astype(np.float16)
    biases = low.astype(np.float16)
    steps = np.rint((groups - biases[..., None]) / scales[..., None].astype(np.float32)).clip(0, 2**bits - 1)
    rows = ["".join(f"{int(step):0{bits}b}"[::-1] for step in row.flat) for row in steps]  # lowest bits first
    words = [[int(row[at : at + 32][::-1], 2) for at in range(0, len(row), 32)] for row in rows]
    packed = np.array(words, np.uint32)
    values = steps.astype(np.float32) * scales[..., None].astype(np.float32) + biases[..., None].astype(np.float32)
    return packed, scales, biases, values.reshape(array.shape)


def quantised(state, bits):
    stored, values = {}, {}
    for name, array in to_mlx(state).items():
        if array.ndim == 2 and "positional" not in name:
            layer = name.removesuffix("weight")
            packed, scales, biases, stood_for = quantise(array, bits)
            stored |= {name: packed, f"{layer}scales": scales, f"{layer}biases": biases}
            values[name.replace("mlp1", "mlp.0").replace("mlp2", "mlp.2")] = stood_for
        else:
            stored[name] = array.astype(np.float16)
    return stored, values


def write(writers, folder, dims, stored, **config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**asdict(dims), "model_type": "whisper", **config}))
    (folder / "tokenizer.json").write_text(writers.tokenizer_json())
    np.savez(folder / "weights.npz", **stored)
    return folder


def test_a_folder_that_is_not_quantised(writers, dims, state, tmp_path):
    heads = np.asfortranarray(np.array([[0, 1], [1, 3]], np.int64))
    checkpoint = read_checkpoint(write(writers, tmp_path, dims, {**to_mlx(state), "alignment_heads": heads}))
    assert (checkpoint.format, checkpoint.dims, checkpoint.alignment_heads) == ("mlx", dims, ((0, 1), (1, 3)))
    for name, array in state.items():
        if name != "encoder.positional_embedding":
            np.testing.assert_array_equal(checkpoint.tensors[name], array)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_groups_are_widened_exactly(bits, writers, dims, state, tmp_path):
    stored, values = quantised(state, bits)
    folder = write(writers, tmp_path, dims, stored, quantization={"group_size": GROUP, "bits": bits})
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.tensors.packed, checkpoint.tensors.quantized) == (f"{bits}-bit groups", False)
    for name, array in values.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array)
    conv = "encoder.conv2.weight"
    np.testing.assert_array_equal(checkpoint.tensors[conv], state[conv])


def test_what_was_read_of_a_file_leaves_memory(writers, dims, state, tmp_path, monkeypatch):
    stored, _ = quantised(state, 4)
    folder = write(writers, tmp_path, dims, stored, quantization={"group_size": GROUP, "bits": 4})
    entry = read_checkpoint(folder).tensors.entry("decoder.token_embedding.weight")
    assert isinstance(entry, Stored)
    seen: list[int] = []
    monkeypatch.setattr(FileBytes, "will_see", lambda _, count: seen.append(count))
    entry.rows(3, 10)
    assert seen == [7 * 32 // 2]


@pytest.mark.parametrize("bits", [3, 4])
def test_arrays_by_columns(bits, writers, dims, state, tmp_path):
    """MLX writes them so where they lie so in memory, and where both orders are the same: one column of scales."""
    stored, values = quantised(state, bits)
    stored = {name: np.asfortranarray(array) for name, array in stored.items()}
    assert stored["encoder.blocks.0.attn.out.scales"].shape == (32, 1)
    folder = write(writers, tmp_path, dims, {}, quantization={"group_size": GROUP, "bits": bits})
    with zipfile.ZipFile(folder / "weights.npz", "w") as archive:
        for name, array in stored.items():
            raw = npy(array)
            if array.shape[1:] == (1,):
                raw = raw.replace(b"False", b"True").replace(b"}", b"} ")
            archive.writestr(f"{name}.npy", raw)
    tensors = read_checkpoint(folder).tensors
    for name, array in values.items():
        np.testing.assert_array_equal(tensors[name], array)
    positions = "decoder.positional_embedding"
    np.testing.assert_array_equal(tensors[positions], state[positions].astype(np.float16))
    entry = tensors.entry(positions)
    assert isinstance(entry, Stored)
    np.testing.assert_array_equal(tensors[positions][3:5], entry.rows(3, 5).read())


@pytest.mark.parametrize("name", ["weights.safetensors", "model.safetensors"])
def test_safetensors_of_mlx(name, writers, dims, state, tmp_path):
    folder = write(writers, tmp_path, dims, {})
    (folder / "weights.npz").unlink()
    (folder / name).write_bytes(writers.safetensors_bytes(to_mlx(state)))
    tensors = read_checkpoint(folder).tensors
    np.testing.assert_array_equal(tensors["encoder.conv1.weight"], state["encoder.conv1.weight"])


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (
            {"group_size": 64, "bits": 7},
            "unusual quantization: expected groups of 32, 64 or 128 with 2, 3, 4, 5, 6, 8 bits, found 7 bits",
        ),
        ({"group_size": 7, "bits": 4}, "unusual quantization"),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, "unusual quantization.*mxfp4"),
        ([4], "unusual quantization"),
        (None, "has an unusable dtype: expected float32, float16, bfloat16, float64, found uint32"),
    ],
)
def test_other_quantisations_are_refused(quantization, message, writers, dims, state, tmp_path):
    stored, _ = quantised(state, 4)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(writers, tmp_path, dims, stored, quantization=quantization))


@pytest.mark.parametrize("side", ["scales", "biases"])
def test_groups_without_scales(side, writers, dims, state, tmp_path):
    stored, _ = quantised(state, 4)
    del stored[f"decoder.token_embedding.{side}"]
    with pytest.raises(CheckpointError, match=r"token_embedding\.weight is quantised without scales and biases for it"):
        read_checkpoint(write(writers, tmp_path, dims, stored, quantization={"group_size": GROUP, "bits": 4}))


def npy(array, head=None):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue() if head is None else buffer.getvalue().replace(*head)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (npy(np.zeros(3, np.complex64)), "is not an array of numbers"),
        (npy(np.zeros(3, np.float32), (b"(3,)", b"(9,)")), "has the wrong size: expected 36, found 12 bytes"),
        (npy(np.zeros(3, np.float32), (b"<f4", b"|O8")), "is not an array of numbers"),
        (npy(np.zeros(3, np.float32))[:30], "is not an array of numbers"),
        (b"", "is not an array of numbers"),
        (npy(np.asfortranarray(np.zeros((3, 2), np.float32)), (b"(3, 2)", b"(9, 2)")), "has the wrong size"),
    ],
)
def test_an_archive_entry_that_is_no_array(entry, message, writers, dims, tmp_path):
    folder = write(writers, tmp_path, dims, {})
    with zipfile.ZipFile(folder / "weights.npz", "w") as archive:
        archive.writestr("encoder.conv1.weight.npy", entry)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_a_compressed_archive_is_refused(writers, dims, state, tmp_path):
    folder = write(writers, tmp_path, dims, {})
    np.savez_compressed(folder / "weights.npz", **to_mlx(state))
    with pytest.raises(CheckpointError, match="is compressed: expected stored as it is"):
        read_checkpoint(folder)


def test_sizes_that_are_none(writers, dims, tmp_path):
    folder = write(writers, tmp_path, dims, {"a": np.zeros(1)}, n_mels="80")
    with pytest.raises(CheckpointError, match=r"config\.json: impossible n_mels: expected 1 to 1024, found '80'"):
        read_checkpoint(folder)
