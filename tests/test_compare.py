"""The whole road, small: train, score, report, resume."""

import json

import numpy as np
import pytest
import torch

import gapfill
from gapfill import compare
from gapfill.data.faces import generate
from gapfill.data.table import Table

SMALL = [
    "--size",
    "32",
    "--steps",
    "3",
    "--batch-size",
    "8",
    "--quiet",
    "--precision",
    "fp32",
    "--device",
    "cpu",
]


@pytest.fixture
def small_set(monkeypatch):
    """The embedded faces, a few of them."""
    images = generate(60, 32)
    split = torch.zeros(60, dtype=torch.int8)
    split[40:48], split[48:] = 1, 2
    table = Table(
        images,
        tuple(f"face-{n}" for n in range(60)),
        split,
        "generated faces, not CelebA",
        generated=True,
        crop="none",
    )
    monkeypatch.setattr("gapfill.data.table.open_table", lambda *a, **k: table)
    monkeypatch.setattr("gapfill.data.open_table", lambda *a, **k: table)
    return table


def run(out, *more):
    return compare.main(["--models", "cnn", "gan", "dcgan", *SMALL, "--out", str(out), *more])


def test_a_comparison_writes_all_that_it_promises(small_set, tmp_path, capsys):
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("data: generated faces, not CelebA")
    for name in ("mean", "telea", "cnn", "gan", "dcgan"):
        assert f"\n{name}" in out
    for name in ("report.html", "results.json", "grid.png", "losses.png", "pictures.npz"):
        assert (tmp_path / name).stat().st_size > 100
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["schema"] == 1
    assert [row["label"] for row in results["models"]] == ["mean", "telea", "cnn", "gan", "dcgan"]
    for row in results["models"]:
        score = row["scores"]["center"]["hole_psnr"]
        assert score["n"] == 12
        assert 3 < score["mean"] < 40
        assert 0 < score["se"] < 3
    assert len(results["protocol"]["masks"][0]["digest"]) == 64
    assert results["data"]["digest"] == small_set.digest()
    pictures = np.load(tmp_path / "pictures.npz", allow_pickle=False)
    known = np.broadcast_to(pictures["mask"] == 0, pictures["real"].shape)
    assert np.array_equal(pictures["filled/gan"][known], pictures["real"][known])


def test_the_same_command_again_trains_nothing(small_set, tmp_path, monkeypatch):
    assert run(tmp_path) == 0
    first = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr("gapfill.inpainter.Trainer", None)  # any training would now fail
    assert run(tmp_path) == 0
    again = json.loads((tmp_path / "results.json").read_text())
    for one, two in zip(first["models"], again["models"], strict=True):
        assert one["scores"] == two["scores"]
        assert one["weights_digest"] == two["weights_digest"]


def test_seeds_repeat_and_report_the_spread(small_set, tmp_path):
    assert compare.main(["--models", "cnn", *SMALL, "--seeds", "3", "--out", str(tmp_path)]) == 0
    row = json.loads((tmp_path / "results.json").read_text())["models"][-1]
    assert [each["seed"] for each in row["runs"]] == [0, 1, 2]
    psnrs = [each["scores"]["center"]["hole_psnr"] for each in row["runs"]]
    assert len(set(psnrs)) == 3
    assert row["stability"]["hole_psnr"]["sd"] == pytest.approx(np.std(psnrs, ddof=1), rel=1e-4)
    assert row["scores"]["center"]["hole_psnr"]["mean"] == pytest.approx(np.mean(psnrs), rel=1e-6)


def test_a_saved_model_and_a_recipe_take_part(small_set, tmp_path):
    with torch.random.fork_rng():
        model = gapfill.create("cnn", size=32, width=4)
    model.fit([small_set.images[:8]], steps=1, quiet=True)
    model.save(tmp_path / "mine")
    recipe = tmp_path / "letter.yaml"
    recipe.write_text("model: dcgan\nsettings: {recipe: paper, width: 4, critic_width: 4}\n")
    code = compare.main(
        ["--models", str(tmp_path / "mine"), str(recipe), *SMALL, "--out", str(tmp_path / "out")]
    )
    assert code == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["models"]
    assert [row["label"] for row in rows] == ["mean", "telea", "mine", "letter"]
    assert rows[3]["config"]["recipe"] == "paper"


def test_a_run_that_diverges_is_told_and_the_rest_goes_on(small_set, tmp_path, monkeypatch, capsys):
    from gapfill.models.gan import GAN

    monkeypatch.setattr(GAN, "loss", lambda self, batch: {"x": self.filled(batch).mean() * np.nan})
    assert run(tmp_path) == 0
    assert "gan, seed 0: loss is NaN at step 1 (generator)" in capsys.readouterr().err
    rows = {r["label"]: r for r in json.loads((tmp_path / "results.json").read_text())["models"]}
    assert rows["gan"]["stability"]["diverged"] == 1
    assert rows["gan"]["runs"][0]["diverged"] is True


def test_other_settings_in_the_same_folder_are_refused(small_set, tmp_path, capsys):
    assert run(tmp_path) == 0
    assert run(tmp_path, "--mask", "half") == 2
    assert (
        "holds a run with other settings (mask: center there, half now)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "dcgam"], "unknown model 'dcgam'. Did you mean 'dcgan'? Known: "),
        (["--mask", "centre"], "center"),
        (["--seeds", "0"], "--seeds must be at least 1; got 0."),
        (["--budget", "soon"], "budget must be a time such as 90s, 10m or 1h; got 'soon'."),
        (["--models", "nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
        (["--steps", "3", "--epochs", "2"], "not allowed with argument"),
        (["--data", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = compare.main(words)
    except SystemExit as exit_:
        code = exit_.code
    assert code in (1, 2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_json_on_stdout_is_json_alone(small_set, tmp_path, capsys):
    assert compare.main(["--models", "telea", *SMALL, "--out", str(tmp_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
