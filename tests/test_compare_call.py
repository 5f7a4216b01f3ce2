"""`gapfill.compare(…)`: live models, tensors, loaders and own masks, by the same stages."""

import inspect
import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from common import message
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import gapfill
import gapfill.compare.stages
from gapfill import report
from gapfill.compare import Comparison, given
from gapfill.compare.settings import differences
from gapfill.data import Stream, Table
from gapfill.data.faces import generate
from gapfill.inpainter import Inpainter
from gapfill.recipe import Recipe
from gapfill.train import Training

SMALL = {"steps": 3, "batch_size": 8, "device": "cpu", "precision": "fp32", "quiet": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)


@pytest.fixture(scope="module")
def images():
    return generate(60, 32)


@pytest.fixture(scope="module")
def live(images):
    model = gapfill.create("cnn", size=32, width=4)
    return model.fit(Stream(images[:40], 8), steps=3, quiet=True, device="cpu")


def hole(top, count=1):
    masks = torch.zeros(count, 1, 32, 32)
    masks[:, :, top : top + 8, 8:16] = 1
    return masks


def test_the_package_is_a_function_and_stays_a_package():
    assert callable(gapfill.compare)
    assert gapfill.compare.stages.carry_out
    assert next(iter(inspect.signature(gapfill.compare).parameters)) == "models"
    code = "import gapfill.compare.plan, gapfill; raise SystemExit(not callable(gapfill.compare))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    help_ = [sys.executable, "-m", "gapfill.compare", "--help"]
    assert subprocess.run(help_, capture_output=True, check=False).returncode == 0


def test_the_results_say_what_the_files_say(images, live, tmp_path):
    found = gapfill.compare(["cnn", live], images, out=tmp_path, **SMALL)
    assert found.folder == tmp_path
    assert list(found) == ["mean", "telea", "cnn", "cnn-2"]
    written = json.loads((tmp_path / "results.json").read_text())
    assert found.results == written
    row = written["models"][2]["scores"]["center"]
    assert found["cnn"].hole_psnr == row["hole_psnr"]["mean"]
    assert found["cnn"].scores == row
    assert found["cnn"].latency_ms == written["models"][2]["cost"]["latency_ms"]
    assert found.table() == report.table(written)
    assert repr(found).startswith(found.table())
    assert "hole PSNR" in found._repr_html_()
    assert f"hole_psnr {found['cnn'].hole_psnr:.4g}" in repr(found["cnn"])
    titles = [axis.get_title(loc="left") for axis in found.figure().axes]
    assert titles == ["corrupted", "mean", "telea", "cnn", "cnn-2", "real"]
    assert written["command"] == (
        "gapfill.compare(['cnn', <cnn>], data=<Tensor [60, 3, 32, 32]>, steps=3, batch_size=8, "
        "precision='fp32')"
    )
    other = gapfill.compare(
        ["cnn"], images, out=tmp_path / "other", flip=False, crop="center", **SMALL
    )
    assert other.results["command"].endswith(
        "batch_size=8, crop='center', flip=False, precision='fp32')"
    )
    again = Comparison(tmp_path)
    assert again.table() == found.table()
    with pytest.raises(KeyError, match="no model is called 'cn' here"):
        found["cn"]
    with pytest.raises(AttributeError, match="'cnn' has no score 'fid'"):
        _ = found["cnn"].fid
    assert "nothing was scored under 'brush'" in message(found["cnn"].under, "brush")


def test_a_trained_model_is_scored_as_it_is_and_left_as_it_is(images, live, tmp_path):
    before = {name: each.clone() for name, each in live.state_dict().items()}
    found = gapfill.compare({"mine": live}, images[:40], test=images[40:], out=tmp_path, **SMALL)
    for name, each in live.state_dict().items():
        assert torch.equal(each, before[name])
    loaded = found["mine"].model()
    for name, each in loaded.state_dict().items():
        assert torch.equal(each, before[name])
    assert found["mine"].facts["learned_from"]["where"] == "elsewhere"


def test_an_untrained_model_is_trained_here_and_left_untrained(images, tmp_path):
    model = gapfill.create("cnn", size=32, width=4)
    found = gapfill.compare(model, images, out=tmp_path, seeds=2, **SMALL)
    assert not model.trained
    trained = found["cnn"].model()
    assert trained.trained
    assert trained.config.width == 4
    assert len(found["cnn"].facts["runs"]) == 2
    again = gapfill.compare(
        gapfill.create("cnn", size=32, width=4), images, out=tmp_path, seeds=2, **SMALL
    )
    assert again["cnn"].facts["weights_digest"] == found["cnn"].facts["weights_digest"]


def test_the_same_call_finds_its_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = gapfill.compare("telea", images, **SMALL)
    assert first.folder.parent.name == "runs"
    assert gapfill.compare("telea", images, **SMALL).folder == first.folder
    assert gapfill.compare("telea", images, test=images[:9], **SMALL).folder != first.folder


def test_classes_that_nobody_can_find_again_are_refused(images):
    class Own(Inpainter):
        """Grey."""

        multiple = 1

        @dataclass(frozen=True)
        class Config:
            """None."""

        def fill(self, known, mask):
            return torch.zeros_like(known)

    text = message(gapfill.compare, Own(Own.Config()), images, **SMALL)
    assert text == 'Own is not registered: put @gapfill.register("my-name") above it.'
    assert "at least one model" in message(gapfill.compare, [], images, **SMALL)
    assert "not Tensor" in message(gapfill.compare, [images], images, **SMALL)
    big = gapfill.create("gan", size=64)
    assert "is for 64×64" in message(gapfill.compare, big, images, **SMALL)
    two = {"mine": "paper"}
    assert "'mine' must be one model" in message(gapfill.compare, two, images, **SMALL)


def opened(data, val=None, test=None, size=None):
    return given.tables(data, val, test, size, "auto", [])


def parts(table):
    return [int((table.split == number).sum()) for number in range(3)]


def test_pictures_that_nobody_split_are_split_by_chance_and_it_is_said(images):
    table, test = opened(images)
    assert test is None
    assert parts(table) == [51, 3, 6]
    assert "split by chance, seed 0" in table.introduce()
    assert torch.equal(opened(images)[0].split, table.split)
    table, test = opened(images[:40], test=images[40:])
    assert (parts(table), len(test)) == ([38, 2, 0], 20)
    table, test = opened(images[:40], images[40:50], images[50:])
    assert (parts(table), len(test), table.rule) == ([40, 10, 0], 10, "")
    assert torch.equal(table.validation, images[40:50])
    assert torch.equal(table.part("train").images, images[:40])


def test_test_pictures_among_the_training_pictures_are_told(images):
    table, _ = opened(images[:40], images[40:50], images[30:50])
    assert table.notes == ("10 of the 20 test pictures are among the training pictures",)


def test_streams_tables_loaders_and_floats_are_pictures_too(images):
    wanted = images[:40]
    loader = DataLoader(TensorDataset(wanted.float() / 255, torch.zeros(40)), batch_size=16)
    for data in (Stream(wanted, 8), loader, [wanted[:20], wanted[20:]], wanted.numpy()):
        table, _ = opened(data, images[:4], images[40:])
        assert torch.equal(table.part("train").images, wanted)
    own = Table(images, tuple(map(str, range(60))), torch.arange(60) % 3, "mine")
    table, test = opened(own, test=own)
    assert table.title == "mine"
    assert len(test) == 60


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(3, 32, 32)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (torch.zeros(9, 3, 32, 16), "square pictures"),
        (torch.zeros(2, 3, 32, 32), "2 pictures are too few"),
        (DataLoader(Endless(), batch_size=4), "a loader with a length"),
        (iter([]), "data= takes a folder"),
        ([], "data= gave no pictures"),
        ([torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 16, 16)], "not all of one size"),
        ([(torch.zeros(4, 3, 32, 32), hole(0, 4))], "gives masks with its pictures"),
    ],
)
def test_what_are_no_pictures_to_compare_on_is_refused(data, said):
    assert said in message(opened, data)


def test_sizes_that_differ_are_refused(images):
    other = generate(9, 48)
    assert "test pictures are 48×48, the others 32×32" in message(opened, images, test=other)
    assert "validation pictures are 48×48" in message(opened, images, val=other)
    assert "size=64, but the pictures are 32×32" in message(opened, images, size=64)
    table = opened(images)[0]
    assert "without a split" in message(opened, table, val=images)


def test_masks_of_ones_own_are_scored_and_trained_under(images, tmp_path, capsys):
    masks = {"top": hole(2), "low": hole(20, 2), "brush": "brush"}
    settings = SMALL | {"quiet": False}
    found = gapfill.compare("cnn", images, masks=masks, out=tmp_path, **settings)
    top, low, brush = found.masks
    assert (top[:4], low[:4], brush) == ("top:", "low:", "brush")
    assert "the same ones in training" in capsys.readouterr().err
    assert found["cnn"].model().training_run["mask"] == top
    assert found["cnn"].under("brush").hole_psnr != found["cnn"].hole_psnr
    assert found["cnn"].under("low").hole_psnr == found["cnn"].under(low).hole_psnr
    assert found.figure(2, under="low").axes
    area = {mask["kind"]: mask["area"] for mask in found.results["protocol"]["masks"]}
    assert area[low] == round(64 / 1024, 4)
    text = message(
        gapfill.compare, "cnn", images, masks=masks | {"top": hole(3)}, out=tmp_path, **SMALL
    )
    assert "holds a run with other settings (mask:" in text


def test_training_masks_of_their_own(images, tmp_path, capsys):
    settings = SMALL | {"quiet": False}
    found = gapfill.compare(
        {"narrow": "cnn:width=4,lr=1e-3"},
        images,
        masks="center",
        mask=hole(2),
        out=tmp_path,
        **settings,
    )
    assert found.masks == ("center",)
    narrow = found["narrow"].model()
    assert (narrow.config.width, narrow.config.lr) == (4, 1e-3)
    assert narrow.training_run["mask"].startswith("tensor:")
    assert "(trained under tensor:" in capsys.readouterr().err


def test_in_what_a_recipe_is_trained_otherwise_is_told():
    common = Recipe("")
    other = Recipe(
        "cnn", flip=False, train=Training(schedule="constant", ema=0.3, clip=1.0, warmup=0.4)
    )
    assert differences(Recipe("cnn", train=Training(seed=5)), common) == []
    assert differences(other, common) == [
        "schedule=constant",
        "warmup=0.4",
        "clip=1.0",
        "ema=0.3",
        "no mirrored pictures",
    ]
