"""LoRA adapters: merged as peft merges them (compared with peft 0.21 to the last place), or refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint, resolve_adapter
from whisper_max.checkpoint.hub import hub_cache_dir
from whisper_max.checkpoint.layout import LOGITS
from whisper_max.checkpoint.lora import merge_adapters
from whisper_max.checkpoint.own_format import OwnModel, write_own_format
from whisper_max.engine.weights import quantized
from whisper_max.errors import CheckpointError, HubError, OptionError

PREFIX = "base_model.model.model."
FC1 = "encoder.layers.1.fc1"
QUERY = "decoder.layers.0.encoder_attn.q_proj"
CONV = "encoder.conv2"
EMBEDDING = "decoder.embed_tokens"
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "init_lora_weights": True}


@pytest.fixture
def base(writers, tmp_path):
    return read_checkpoint(writers.write_stored("safetensors", tmp_path / "base", writers.stored("safetensors")))


def parts(seed=0):
    random = np.random.default_rng(seed).standard_normal

    def pair(n_out, n_in, rank=2):
        return random((rank, n_in)).astype(np.float32), random((n_out, rank)).astype(np.float32)

    return pair


def write_adapter(writers, folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    stored = {PREFIX + name: array for name, array in tensors.items()}
    (folder / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(stored))
    return folder


def merged(base, *adapters):
    return merge_adapters(base.tensors, [resolve_adapter(str(adapter)) for adapter in adapters], base.dims)


def test_a_linear_layer(base, writers, tmp_path):
    down, up = parts()(32, 8)
    folder = write_adapter(writers, tmp_path / "a", {f"{FC1}.lora_A.weight": down, f"{FC1}.lora_B.weight": up})
    tensors = merged(base, folder)
    name = "encoder.blocks.1.mlp.0.weight"
    np.testing.assert_allclose(tensors[name], base.tensors[name] + 3 * (up @ down), rtol=1e-6)
    assert tensors.dtype(name) == "float32"
    assert [each for each in tensors if not np.array_equal(tensors[each], base.tensors[each])] == [name]


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"use_rslora": True}, 6 / np.sqrt(2)),
        ({"alpha_pattern": {"layers.1.fc1": 10}}, 5),
        ({"alpha_pattern": {"fc2": 10}}, 3),
        ({"r": 9, "rank_pattern": {"encoder.layers.1.fc1": 2}}, 3),
        ({"alpha_pattern": {"^model.encoder.layers.1.fc1": 10}}, 5),
        ({"alpha_pattern": {"^encoder.layers.1.fc1": 10}}, 3),
        ({"alpha_pattern": {r"encoder\.layers\.\d+\.fc1": 10, "fc1": 2}}, 5),
        ({"alpha_pattern": {"layers.[01].(fc1|fc2)$": 10}}, 5),
        ({"alpha_pattern": {".*decoder.*fc1": 10}}, 3),
    ],
)
def test_how_strong_an_adapter_is(config, scale, base, writers, tmp_path):
    down, up = parts()(32, 8)
    tensors = {f"{FC1}.lora_A.weight": down, f"{FC1}.lora_B.weight": up}
    ours = merged(base, write_adapter(writers, tmp_path / "a", tensors, **config))["encoder.blocks.1.mlp.0.weight"]
    np.testing.assert_allclose(
        ours, base.tensors["encoder.blocks.1.mlp.0.weight"] + np.float32(scale) * (up @ down), rtol=1e-5, atol=1e-6
    )


def dora(matrix, delta, magnitude, axis):
    """In float64, norms over all axes but the outputs'."""
    changed = matrix.astype(np.float64) + delta
    others = tuple(each for each in range(matrix.ndim) if each != axis)
    return changed / np.sqrt((changed**2).sum(others, keepdims=True)) * magnitude


def test_magnitudes_of_dora(base, writers, tmp_path):
    """Of a linear layer, a convolution and an embedding, whose outputs are its columns."""
    pair, random = parts(), np.random.default_rng(1)
    (down, up), (conv_down, conv_up), (rows, columns) = pair(32, 8), pair(8, 24), pair(8, 300)
    magnitudes = [random.random(shape).astype(np.float32) for shape in ((32,), (1, 8, 1), (8,))]
    tensors = {
        f"{FC1}.lora_A.weight": down,
        f"{FC1}.lora_B.weight": up,
        f"{FC1}.lora_magnitude_vector.weight": magnitudes[0],
        f"{CONV}.lora_A.weight": conv_down.reshape(2, 8, 3),
        f"{CONV}.lora_B.weight": conv_up.reshape(8, 2, 1),
        f"{CONV}.lora_magnitude_vector": magnitudes[1],  # without .weight, as earlier versions of peft had it
        f"{EMBEDDING}.lora_embedding_A": rows,
        f"{EMBEDDING}.lora_embedding_B": columns,
        f"{EMBEDDING}.lora_magnitude_vector.weight": magnitudes[2],
    }
    ours = merged(base, write_adapter(writers, tmp_path / "a", tensors, use_dora=True))
    taps = 3 * np.einsum("or,rik->oik", conv_up, conv_down.reshape(2, 8, 3))
    expected = {
        "encoder.blocks.1.mlp.0.weight": (3 * (up @ down), magnitudes[0][:, None], 0),
        "encoder.conv2.weight": (taps, magnitudes[1].reshape(8, 1, 1), 0),
        OURS: (3 * (columns @ rows).T, magnitudes[2], 1),
    }
    for name, of in expected.items():
        np.testing.assert_allclose(ours[name], dora(base.tensors[name], *of), rtol=1e-5, atol=1e-6)
    assert LOGITS not in ours


def test_several_doras_each_normed_by_the_models_own_matrix(base, writers, tmp_path):
    """As peft 0.21 merges them: the norm is that of one change alone."""
    name = "decoder.blocks.0.cross_attn.query.weight"
    folders, changes = [], []
    for seed in (1, 2):
        down, up = parts(seed)(8, 8)
        magnitude = np.random.default_rng(seed).random(8).astype(np.float32)
        tensors = {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up}
        tensors[f"{QUERY}.lora_magnitude_vector.weight"] = magnitude
        folders.append(write_adapter(writers, tmp_path / f"{seed}", tensors, use_dora=True))
        changes.append((3 * (up @ down), magnitude[:, None]))
    expected = base.tensors[name].astype(np.float64)
    for delta, magnitude in changes:
        norm = np.sqrt(((base.tensors[name].astype(np.float64) + delta) ** 2).sum(1, keepdims=True))
        expected = (expected + delta) * magnitude / norm
    np.testing.assert_allclose(merged(base, *folders)[name], expected, rtol=1e-5, atol=1e-6)


def test_dora_is_applied_as_it_was_trained_or_not_at_all(base, writers, tmp_path):
    down, up = parts()(32, 8)
    pair = {f"{FC1}.lora_A.weight": down, f"{FC1}.lora_B.weight": up}
    magnitude = {f"{FC1}.lora_magnitude_vector.weight": np.ones(32, np.float32)}
    folder = write_adapter(writers, tmp_path / "a", pair | magnitude, use_dora=True)
    with pytest.raises(CheckpointError, match=r"learned for its full strength: expected =1 or nothing, found =0\.5"):
        merged(base, f"{folder}=0.5")
    with pytest.raises(CheckpointError, match=r"with a magnitude, and use_dora is None"):
        merged(base, write_adapter(writers, tmp_path / "b", pair | magnitude))
    with pytest.raises(CheckpointError, match=r"not an adapter of this model: unknown tensors 1 .*magnitude"):
        merged(base, write_adapter(writers, tmp_path / "c", magnitude, use_dora=True))
    other = {f"{FC1}.lora_magnitude_vector.weight": np.ones(8, np.float32)}
    with pytest.raises(CheckpointError, match=r"magnitude_vector.weight has the wrong shape: expected \(32,\)"):
        merged(base, write_adapter(writers, tmp_path / "d", pair | other, use_dora=True))


def test_a_bias_of_the_change_adds_to_the_layers(base, writers, tmp_path):
    down, up = parts()(32, 8)
    bias = np.arange(32, dtype=np.float32)
    tensors = {f"{FC1}.lora_A.weight": down, f"{FC1}.lora_B.weight": up, f"{FC1}.lora_B.bias": bias}
    ours = merged(base, f"{write_adapter(writers, tmp_path / 'a', tensors, lora_bias=True)}=0.5")
    name = "encoder.blocks.1.mlp.0.bias"
    np.testing.assert_allclose(ours[name], base.tensors[name] + 1.5 * bias, rtol=1e-6)
    with pytest.raises(CheckpointError, match=r"half of the change of encoder.blocks.1.mlp.0.bias is missing"):
        merged(base, write_adapter(writers, tmp_path / "b", {f"{FC1}.lora_B.bias": bias, f"{FC1}.bias": bias}))


def test_a_convolution_and_an_embedding(base, writers, tmp_path):
    pair = parts()
    down, up = pair(8, 24)
    rows, columns = pair(8, 300)
    tensors = {
        f"{CONV}.lora_A.weight": down.reshape(2, 8, 3),
        f"{CONV}.lora_B.weight": up.reshape(8, 2, 1),
        f"{EMBEDDING}.lora_embedding_A": rows,
        f"{EMBEDDING}.lora_embedding_B": columns,
    }
    ours = merged(base, write_adapter(writers, tmp_path / "a", tensors))
    taps = 3 * np.einsum("or,rik->oik", up, down.reshape(2, 8, 3))
    np.testing.assert_allclose(
        ours["encoder.conv2.weight"], base.tensors["encoder.conv2.weight"] + taps, rtol=1e-5, atol=1e-6
    )
    embedding = "decoder.token_embedding.weight"
    np.testing.assert_allclose(ours[embedding], base.tensors[embedding] + 3 * (columns @ rows).T, rtol=1e-5, atol=1e-6)


def test_several_adapters_each_with_its_weight(base, writers, tmp_path):
    pairs = [parts(seed)(8, 8) for seed in (1, 2)]
    folders = [
        write_adapter(writers, tmp_path / name, {f"{QUERY}.lora_A.weight": down, f"{QUERY}.lora_B.weight": up})
        for name, (down, up) in zip("ab", pairs, strict=True)
    ]
    ours = merged(base, f"{folders[0]}=0.5", f"{folders[1]}=-1")["decoder.blocks.0.cross_attn.query.weight"]
    (down, up), (other_down, other_up) = pairs
    expected = (
        base.tensors["decoder.blocks.0.cross_attn.query.weight"] + 1.5 * (up @ down) - 3 * (other_up @ other_down)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_whole_tensors_replace_the_models(base, writers, tmp_path):
    bias = np.arange(8, dtype=np.float32)
    tensors = {f"{QUERY}.base_layer.bias": bias, "decoder.layer_norm.modules_to_save.weight": bias + 1}
    ours = merged(base, write_adapter(writers, tmp_path / "a", tensors, bias="all"))
    np.testing.assert_array_equal(ours["decoder.blocks.0.cross_attn.query.bias"], bias)
    np.testing.assert_array_equal(ours["decoder.ln.weight"], bias + 1)


OURS = "decoder.token_embedding.weight"


def test_an_embedding_trained_as_a_whole_leaves_the_old_one_to_the_logits(base, writers, tmp_path):
    matrix = base.tensors[OURS][::-1].copy()
    folder = write_adapter(writers, tmp_path / "a", {f"{EMBEDDING}.modules_to_save.weight": matrix})
    ours = merged(base, folder)
    np.testing.assert_array_equal(ours[OURS], matrix)
    np.testing.assert_array_equal(ours[LOGITS], base.tensors[OURS])


def test_logits_trained_as_a_whole_leave_the_embedding(base, writers, tmp_path):
    matrix = base.tensors[OURS][::-1].copy()
    ours = merged(base, adapter_of_logits(writers, tmp_path, matrix))
    np.testing.assert_array_equal(ours[OURS], base.tensors[OURS])
    np.testing.assert_array_equal(ours[LOGITS], matrix)


def adapter_of_logits(writers, tmp_path, matrix, **more):
    """proj_out stands beside the model, not in it."""
    folder = write_adapter(writers, tmp_path / "a", more)
    stored = {f"{PREFIX}{name}": array for name, array in more.items()}
    stored["base_model.model.proj_out.weight"] = matrix
    (folder / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(stored))
    return folder


def test_a_change_of_the_embedding_is_one_of_the_logits_too_where_both_are_saved(base, writers, tmp_path):
    """As peft saves an embedding that has an adapter: with its matrix and that of the logits, which are one."""
    rows, columns = parts()(8, 300)
    changes = {f"{EMBEDDING}.lora_embedding_A": rows, f"{EMBEDDING}.lora_embedding_B": columns}
    whole = {f"{EMBEDDING}.base_layer.weight": base.tensors[OURS]}
    ours = merged(base, adapter_of_logits(writers, tmp_path, base.tensors[OURS], **changes, **whole))
    assert LOGITS not in ours
    np.testing.assert_allclose(ours[OURS], base.tensors[OURS] + 3 * (columns @ rows).T, rtol=1e-5, atol=1e-6)


def test_tied_layers_hold_one_change(base, writers, tmp_path):
    """With ensure_weight_tying the two layers share their matrices; what was trained has the change once."""
    rows, columns = parts()(8, 300)
    tensors = {f"{EMBEDDING}.lora_embedding_A": rows, f"{EMBEDDING}.lora_embedding_B": columns}
    folder = write_adapter(writers, tmp_path / "a", tensors, ensure_weight_tying=True)
    stored = {PREFIX + name: array for name, array in tensors.items()}
    stored["base_model.model.proj_out.lora_A.weight"] = np.ascontiguousarray(columns.T)
    stored["base_model.model.proj_out.lora_B.weight"] = np.ascontiguousarray(rows.T)
    (folder / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(stored))
    ours = merged(base, folder)
    np.testing.assert_allclose(ours[OURS], base.tensors[OURS] + 3 * (columns @ rows).T, rtol=1e-5, atol=1e-6)
    assert LOGITS not in ours


def test_a_change_of_logits_that_an_adapter_parted_from_the_embedding(base, writers, tmp_path):
    matrix, (down, up) = base.tensors[OURS][::-1].copy(), parts()(300, 8)
    folder = write_adapter(writers, tmp_path / "a", {})
    stored = {"base_model.model.proj_out.lora_A.weight": down, "base_model.model.proj_out.lora_B.weight": up}
    stored[f"{PREFIX}{EMBEDDING}.modules_to_save.weight"] = matrix
    (folder / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(stored))
    ours = merged(base, folder)
    np.testing.assert_array_equal(ours[OURS], matrix)
    np.testing.assert_allclose(ours[LOGITS], base.tensors[OURS] + 3 * (up @ down), rtol=1e-5, atol=1e-6)


def test_a_change_of_logits_that_share_the_embedding(base, writers, tmp_path):
    down, up = parts()(300, 8)
    folder = write_adapter(writers, tmp_path / "a", {})
    pair = {"base_model.model.proj_out.lora_A.weight": down, "base_model.model.proj_out.lora_B.weight": up}
    (folder / "adapter_model.safetensors").write_bytes(writers.safetensors_bytes(pair))
    ours = merged(base, folder)
    np.testing.assert_allclose(ours[OURS], base.tensors[OURS] + 3 * (up @ down), rtol=1e-5, atol=1e-6)
    assert LOGITS not in ours


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({f"{FC1}.lora_A.weight": (2, 8)}, "half of the change of encoder.blocks.1.mlp.0.weight is missing"),
        (
            {f"{FC1}.lora_A.weight": (2, 9), f"{FC1}.lora_B.weight": (32, 2)},
            r"wrong shape: expected \(2, 8\), found \(2, 9",
        ),
        ({f"{FC1}.lora_A.weight": (2, 8), f"{FC1}.lora_B.weight": (32, 3)}, r"wrong shape: expected \(32, 2\), found"),
        (
            {f"{FC1}.lora_A.weight": (3, 8), f"{FC1}.lora_B.weight": (32, 3)},
            "another rank of .*: expected 2.0, found 3",
        ),
        ({"encoder.layers.9.fc1.lora_A.weight": (2, 8)}, "not an adapter of this model: unknown tensors 1"),
        ({f"{QUERY.replace('q_proj', 'k_proj')}.bias": (8,)}, "not an adapter of this model: unknown tensors 1"),
        ({f"{FC1}.bias": (31,)}, r"has the wrong shape: expected \(32,\), found \(31,\); the adapter is of another"),
        (
            {"decoder.embed_tokens.weight": (303, 8)},
            r"expected \(300, 8\), found \(303, 8\); its model has other tokens: merge it with peft",
        ),
        ({"decoder.embed_tokens.weight": (300, 9)}, r"found \(300, 9\); the adapter is of another model"),
        ({}, "not an adapter of this model: empty"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tensors, message, base, writers, tmp_path):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in tensors.items()}
    with pytest.raises(CheckpointError, match=message):
        merged(base, write_adapter(writers, tmp_path / "a", arrays))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "not a LoRA adapter: expected peft_type 'LORA', found 'IA3'; merge it with peft"),
        ({"use_qalora": True}, r"an adapter with use_qalora; merge it with peft \(merge_and_unload\) and load the"),
        ({"use_dora": True}, r"a change of encoder.blocks.1.mlp.0.weight without a magnitude, and use_dora is True"),
        ({"init_lora_weights": "pissa_niter_4"}, "an adapter with init_lora_weights pissa_niter_4"),
        ({"lora_alpha": "x"}, "impossible lora_alpha: expected above 0, found 'x'"),
        ({"lora_alpha": None}, "impossible lora_alpha: expected above 0"),
        ({"r": 0}, "impossible r: expected above 0, found 0"),
        *(
            ({"alpha_pattern": {pattern: 3}}, "alpha_pattern with an unusual regular expression: found '")
            for pattern in ("(a+)+", "(a|a)*", "[a-z]+?", "(?=fc1)", "a*" * 4, "(.|.)" * 40 + "X", "a|" * 17 + "a", "")
        ),
        ({"alpha_pattern": {"(fc1": 3}}, "alpha_pattern with a broken regular expression"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(config, message, base, writers, tmp_path):
    down, up = parts()(32, 8)
    tensors = {f"{FC1}.lora_A.weight": down, f"{FC1}.lora_B.weight": up}
    with pytest.raises(CheckpointError, match=message):
        merged(base, write_adapter(writers, tmp_path / "a", tensors, **config))


def test_weights_that_are_int8_take_no_adapter(base, writers, tmp_path):
    path = tmp_path / "m.safetensors"
    write_own_format(path, OwnModel(base.dims, base.tensors, base.vocabulary, None, None), quantized)
    with pytest.raises(CheckpointError, match="can't be merged into quantised weights; give the original"):
        merged(read_checkpoint(path), write_adapter(writers, tmp_path / "a", {}))


def test_where_an_adapter_is(writers, tmp_path):
    folder = write_adapter(writers, tmp_path / "a=2", {})
    assert resolve_adapter(str(folder)).factor == 1
    assert resolve_adapter(f"{folder}=2").factor == 2
    with pytest.raises(CheckpointError, match=r"no LoRA adapter in this folder: expected adapter_config\.json and"):
        resolve_adapter(tmp_path)
    for factor, message in (("x", "no number: found =x"), ("nan", "not finite: found =nan")):
        with pytest.raises(OptionError, match=f"lora: {message}"):
            resolve_adapter(f"{folder}={factor}")
    with pytest.raises(HubError, match="someone/adapter: not on this machine, and the hub is off limits"):
        resolve_adapter("someone/adapter", offline=True)
    cached = hub_cache_dir() / "models--someone--adapter" / "snapshots" / "main"
    cached.parent.mkdir(parents=True)
    folder.rename(cached)
    assert resolve_adapter("someone/adapter=0.5", offline=True).config == cached / "adapter_config.json"
