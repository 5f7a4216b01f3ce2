"""What is known of a model's training pictures, and that test pictures among them are noticed."""

import json

import pytest
import torch
from common import numbered
from test_compare import SMALL, small_set  # noqa: F401, a fixture

import gapfill
from gapfill import checkpoint, compare
from gapfill.data import Stream
from gapfill.data.seen import Seen, digests


def test_a_picture_is_known_by_its_pixels():
    images = numbered(6)
    found = Seen.after(None, Stream(images[:4], 2))
    assert found.among(images).tolist() == [True] * 4 + [False] * 2
    assert len(found.pictures) == 4
    assert torch.equal(digests(images.float() / 255), digests(images))
    images[0, 0, 0, 0] ^= 1
    assert found.among(images[:1]).tolist() == [False]


def test_trainings_add_up_and_strange_loaders_leave_something_unknown():
    first = Seen.after(None, Stream(numbered(4), 2))
    assert (first.others, first.trainings) == (False, 1)
    both = Seen.after(first, Stream(numbered(6)[3:], 2))
    assert (len(both.pictures), both.others, both.trainings) == (6, False, 2)


def small(images, **how):
    model = gapfill.create("cnn", size=32, width=4)
    return model.fit(Stream(images, 4), steps=1, quiet=True, precision="fp32", **how)


@pytest.fixture
def faces():
    return torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)


def test_what_was_learned_from_is_saved_and_loaded(faces, tmp_path):
    model = small(faces, mask="half", seed=5)
    model.save(tmp_path)
    found = gapfill.load(tmp_path)
    assert found.training_pictures.among(faces).all()
    assert (found.training_run["mask"], found.training_run["seed"]) == ("half", 5)
    assert len(found.training_run["initial_weights"]) == 64
    found.fit(Stream(faces[:4] ^ 1, 4), steps=1, quiet=True, precision="fp32")
    assert found.training_pictures.trainings == 2
    assert len(found.training_pictures.pictures) == 12
    found.fit([faces], steps=1, quiet=True, precision="fp32")
    assert (found.training_pictures.trainings, found.training_pictures.others) == (3, True)


def test_digests_beside_other_weights_are_not_believed_and_damaged_ones_refused(faces, tmp_path):
    small(faces).save(tmp_path / "a")
    small(faces ^ 1, seed=1).save(tmp_path / "b")
    file = tmp_path / "a" / "seen.safetensors"
    file.write_bytes((tmp_path / "b" / "seen.safetensors").read_bytes())
    assert gapfill.load(tmp_path / "a").training_pictures is None
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(checkpoint.DamagedError, match=r"seen\.safetensors"):
        gapfill.load(tmp_path / "a")
    file.unlink()
    again = gapfill.load(tmp_path / "a")
    again.fit(Stream(faces, 4), steps=1, quiet=True, precision="fp32")
    assert (again.training_pictures.trainings, again.training_pictures.others) == (2, True)


def test_a_comparison_tells_what_saved_models_learned_from(small_set, tmp_path, capsys):  # noqa: F811
    test = small_set.part("test").images
    small(torch.cat([small_set.part("train").images, test[:3]]), mask="half", seed=7).save(
        tmp_path / "mine", data="elsewhere"
    )
    stranger = gapfill.create("cnn", size=32, width=4)
    stranger.fit([small_set.images[:8]], steps=2, quiet=True, precision="fp32")
    stranger.save(tmp_path / "stranger")
    words = [str(tmp_path / "mine"), str(tmp_path / "stranger"), "cnn", "nearest"]
    assert compare.main(["--models", *words, *SMALL, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "mine was trained elsewhere: 1 steps under half masks, seed 7" in said
    assert "3 of the 12 test pictures were among the training pictures of mine" in said
    assert "stranger was trained elsewhere: 2 steps under center masks, seed 0; nobody" in said
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    facts = {row["label"]: row["learned_from"] for row in results["models"]}
    assert facts["telea"] is None
    assert facts["mine"]["test_pictures"] == {
        "among": 3, "of": 12, "names": ["face-48", "face-49", "face-50"]
    }  # fmt: skip
    assert facts["stranger"]["others"] is True
    assert facts["cnn"] | {"pictures": 0, "initial_weights": 0} == {
        "where": "here", "steps": 3, "mask": "center", "seed": 0, "batch_size": 8, "flip": True,
        "pictures": 0, "initial_weights": 0, "trainings": 1, "count": 40, "others": False,
        "test_pictures": {"among": 0, "of": 12, "names": []},
    }  # fmt: skip
    assert facts["nearest"]["test_pictures"]["among"] == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What each model learned from" in page
    assert "3 of 12 (face-48, face-49, face-50)" in page
