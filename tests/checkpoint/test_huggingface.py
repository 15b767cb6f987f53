"""Hugging Face folders as people make them: PyTorch files, shards, wrapped names, biases that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.errors import CheckpointError


@pytest.fixture
def state(writers):
    return writers.random_state(writers.dims)


def write(writers, folder, stored, kind="pytorch"):
    """A folder whose weights have these names, in one file or two."""
    writers.write_stored("safetensors", folder, {}).unlink()
    names = list(stored)
    if kind == "safetensors":
        (folder / "model.safetensors").write_bytes(writers.safetensors_bytes(stored))
    elif kind == "pytorch":
        writers.pytorch_file(folder / "pytorch_model.bin", stored)
    else:
        parts = {f"pytorch_model-0000{i + 1}-of-00002.bin": names[i::2] for i in (0, 1)}
        for file, part in parts.items():
            writers.pytorch_file(folder / file, {name: stored[name] for name in part})
        weight_map = {name: file for file, part in parts.items() for name in part}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def assert_read(folder, state):
    tensors = read_checkpoint(folder).tensors
    assert set(tensors) == set(state)
    assert all(np.array_equal(tensors[name], state[name]) for name in state)


@pytest.mark.parametrize("kind", ["pytorch", "sharded", "safetensors"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("model.", "model."),
        ("model.", ""),
        ("model.", "module.model."),
        ("model.", "_orig_mod.model."),
        ("model.", "_orig_mod."),
        ("model.", "module._orig_mod.model."),
        ("proj_out.", "_orig_mod.proj_out."),
        ("model.", "student_model.model."),
        ("model.", "whisper."),
        ("model.encoder.", "model.encoder._fsdp_wrapped_module."),
        ("model.decoder.layers.1.", "model.decoder.layers.1._checkpoint_wrapped_module."),
        ("model.", "model.model."),
        ("model.", "base_model.model.model."),
        ("proj_out.", "module.proj_out."),
    ],
)
def test_wrapped_names(kind, theirs, ours, writers, state, tmp_path):
    stored = {
        ours + name.removeprefix(theirs) if name.startswith(theirs) else name: array
        for name, array in writers.stored("safetensors", state).items()
    }
    assert_read(write(writers, tmp_path, stored, kind), state)


@pytest.mark.parametrize("kind", ["pytorch", "safetensors"])
@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_openais_names(prefix, kind, writers, state, tmp_path):
    stored = {prefix + name: array for name, array in state.items()}
    assert_read(write(writers, tmp_path, stored, kind), state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_inside_what_a_trainer_saved(key, writers, state, tmp_path):
    p = writers.pickle
    stored = writers.stored("safetensors", state)
    tensors = {name: p.tensor(str(i), a.shape, "FloatStorage") for i, (name, a) in enumerate(stored.items())}
    folder = write(writers, tmp_path, stored)
    data = p.whole(p.dict({"epoch": p.number(3), key: p.state(tensors)}))
    entries = {f"data/{i}": array.astype("<f4").tobytes() for i, array in enumerate(stored.values())}
    writers.write_archive(folder / "pytorch_model.bin", {"data.pkl": data, **entries})
    assert_read(folder, state)


def test_a_tensor_under_two_names_is_refused(writers, state, tmp_path):
    stored = writers.stored("safetensors", state)
    stored["encoder.conv1.bias"] = stored["model.encoder.conv1.bias"]
    with pytest.raises(CheckpointError, match=r"model\.encoder\.conv1\.bias is stored twice"):
        read_checkpoint(write(writers, tmp_path, stored))


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.model.encoder.layers.0.self_attn.q_proj.lora_A.default.weight",
        "model.encoder.layers.0.self_attn.q_proj.base_layer.weight",
        "base_model.model.proj_out.modules_to_save.default.weight",
    ],
)
def test_an_adapter_that_was_not_merged_is_named(name, writers, state, tmp_path):
    stored = writers.stored("safetensors", state) | {name: np.zeros((2, 2), np.float32)}
    with pytest.raises(CheckpointError, match=r"an adapter was saved with the model and not merged .*merge_and_unload"):
        read_checkpoint(write(writers, tmp_path, stored))


@pytest.mark.parametrize(
    "attention", ["decoder.layers.1.encoder_attn", "decoder.layers.0.self_attn", "encoder.layers.2.self_attn"]
)
def test_a_bias_on_the_keys_is_left_out(attention, writers, state, tmp_path):
    """As transformers does; it adds the same to all scores of a query, which their softmax takes away."""
    stored = writers.stored("safetensors", state)
    stored[f"model.{attention}.k_proj.bias"] = np.arange(8, dtype=np.float32)
    assert_read(write(writers, tmp_path, stored), state)


def test_a_teacher_beside_its_student_is_refused(writers, state, tmp_path):
    stored = writers.stored("safetensors", state)
    stored |= {f"teacher.{name}": array for name, array in stored.items()}
    with pytest.raises(CheckpointError, match=r"model\.encoder\.conv1\.weight is stored twice"):
        read_checkpoint(write(writers, tmp_path, stored))


def test_a_tensor_that_has_a_number_for_a_name(writers, state, tmp_path):
    folder = write(writers, tmp_path, {})
    content = b"}K\x01" + writers.pickle.tensor("0", (2,), "FloatStorage") + b"s"
    entries = {"data.pkl": writers.pickle.whole(content), "data/0": bytes(8)}
    writers.write_archive(folder / "pytorch_model.bin", entries)
    with pytest.raises(CheckpointError, match="holds more than tensors: found a tensor called 1"):
        read_checkpoint(folder)


@pytest.mark.parametrize("content", [b"N.", b"K\x01.", b"]N."])
def test_a_pytorch_file_of_something_else(content, writers, tmp_path):
    folder = write(writers, tmp_path, {})
    writers.write_archive(folder / "pytorch_model.bin", {"data.pkl": b"\x80\x02" + content})
    with pytest.raises(CheckpointError, match="not a state dict: expected tensors by name"):
        read_checkpoint(folder)


def test_weights_that_are_quantised_for_pytorch_are_refused_first(writers, tmp_path):
    folder = write(writers, tmp_path, {})
    config = writers.huggingface_config() | {"quantization_config": {"quant_method": "bitsandbytes"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=r"config\.json: quantised for PyTorch \('bitsandbytes'\); take the model"
    ):
        read_checkpoint(folder)
