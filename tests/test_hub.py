"""Models from the Hub and to it, which a folder stands in for, and by torch.hub."""

import importlib.util
import runpy
import shutil
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from common import message

import gapfill
from gapfill import checkpoint, testing
from gapfill.errors import GapfillError
from gapfill.registry import model_class

ROOT = Path(gapfill.__file__).parents[1]


@pytest.fixture
def the_hub(tmp_path, monkeypatch):
    """A Hub in a folder: repositories by name, and only what patterns allow goes in and out."""
    shelf = tmp_path / "shelf"

    def carry(source, target, allow_patterns):
        target.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if path.name in allow_patterns:
                shutil.copy(path, target)

    def snapshot_download(name, *, revision, allow_patterns):
        if not (shelf / name).is_dir():
            raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find it\nand more")
        carry(shelf / name, tmp_path / "cache" / "a1b2c3", allow_patterns)
        return str(tmp_path / "cache" / "a1b2c3")

    def create_repo(name, *, private, exist_ok):
        assert exist_ok

    def upload_folder(*, repo_id, folder_path, commit_message, allow_patterns):
        assert commit_message
        carry(folder_path, shelf / repo_id, allow_patterns)

    for stand_in in (snapshot_download, create_repo, upload_folder):
        monkeypatch.setattr(huggingface_hub, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    return shelf


@pytest.fixture
def model():
    return testing.trained(gapfill.create("gan", size=32, width=4))


def test_a_model_goes_to_the_hub_and_comes_back(the_hub, model):
    address = model.push_to_hub("me/faces", data="faces of mine", critics=False)
    assert address.endswith("/me/faces")
    names = {path.name for path in (the_hub / "me" / "faces").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "seen.safetensors"}
    (the_hub / "me" / "faces" / "pytorch_model.bin").write_bytes(b"a pickle")
    found = gapfill.Inpainter.from_pretrained("me/faces", lr=1e-4)
    assert not Path("cache/a1b2c3/pytorch_model.bin").exists()
    image, mask = testing.pictures(model), testing.holes(model)
    assert torch.equal(found.inpaint(image, mask), model.inpaint(image, mask))
    assert found.config.lr == 1e-4
    assert found.loaded_from["name"] == "me/faces"
    found.save("again")
    assert checkpoint.read_json(Path("again/config.json"))["data"] == "faces of mine"


def test_the_page_says_what_the_card_says(the_hub, model, tmp_path):
    model.save(tmp_path / "gan", data="faces of mine")
    tuned = testing.trained(gapfill.load(tmp_path / "gan"))
    tuned.push_to_hub("me/tuned", critics=False)
    text = (the_hub / "me" / "tuned" / "README.md").read_text("utf-8")
    assert text.startswith("---\nlibrary_name: gapfill\ntags: [gapfill, inpainting, ")
    for words in (
        "# tuned\n",
        "A `gan` of gapfill",
        'gapfill.Inpainter.from_pretrained("me/tuned")',
        "width=4",
        "in 2 trainings",
        "**began with**: gan (faces of mine)",
        "**without**: critic",
        checkpoint.digest_of(the_hub / "me" / "tuned" / "model.safetensors"),
    ):
        assert words in text, words
    assert "**data**" not in text


def test_a_folder_goes_before_the_hub(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("me/faces")

    def never(*_, **__):
        raise AssertionError("asked the Hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    assert gapfill.Inpainter.from_pretrained("me/faces").loaded_from["name"] == "faces"
    assert gapfill.Inpainter.from_pretrained(tmp_path / "me" / "faces").name == "gan"


def test_a_class_takes_its_own_alone(model, tmp_path):
    model.save(tmp_path / "gan")
    assert type(model_class("gan").from_pretrained(tmp_path / "gan")) is model_class("gan")
    for name in ("dcgan", "cnn"):
        text = message(model_class(name).from_pretrained, tmp_path / "gan")
        assert text == f"{tmp_path / 'gan'} holds a 'gan', not a '{name}'."
    lsgan = testing.trained(gapfill.create("lsgan", size=32, width=4, critic_width=4))
    lsgan.save(tmp_path / "lsgan")
    text = message(model_class("dcgan").from_pretrained, tmp_path / "lsgan")
    assert text.endswith("holds a 'lsgan', not a 'dcgan'.")


def test_what_cannot_be_had_is_one_line(the_hub, model):
    fetch = gapfill.Inpainter.from_pretrained
    assert message(fetch, "nowhere") == (
        "there is no folder nowhere, and on the Hub models are called user/name."
    )
    assert "no folder ../x" in message(fetch, "../x")
    assert message(fetch, "me/gone", error=GapfillError) == (
        "cannot get me/gone from the Hub (LocalEntryNotFoundError): cannot find it"
    )
    assert "called user/name" in message(model.push_to_hub, "faces")
    assert "has not been trained" in message(gapfill.create("gan").push_to_hub, "me/faces")


def test_offline_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    asked = []

    def nobody(*address, **settings):
        asked.append(address)
        raise OSError("nobody answers here")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    text = message(gapfill.Inpainter.from_pretrained, "me/faces", error=GapfillError)
    assert text.startswith("cannot get me/faces from the Hub (")
    assert not asked


@pytest.mark.skipif(not (ROOT / "hubconf.py").exists(), reason="gapfill is installed without it")
def test_torch_hub_has_every_model():
    entries = runpy.run_path(str(ROOT / "hubconf.py"))
    assert all(callable(entries[name]) for name in gapfill.list_models())
    assert all(importlib.util.find_spec(name) for name in entries["dependencies"])
    model = torch.hub.load(str(ROOT), "unet", source="local", pretrained=True)
    assert model.trained
    assert torch.hub.load(str(ROOT), "cnn", source="local", width=4).config.width == 4


def test_a_folder_has_no_revisions(tmp_path):
    assert message(gapfill.Inpainter.from_pretrained, tmp_path, revision="v2") == (
        f"{tmp_path} is a folder here, which has no revisions."
    )
