"""The whole road, small: train, score, report, resume."""

import json
import shutil
from dataclasses import dataclass
from html import unescape

import numpy as np
import pytest
import torch
from common import message
from PIL import Image

import gapfill
from gapfill import compare, masks, metrics, registry
from gapfill.about import About
from gapfill.compare import command, evaluate, settings, short, stages
from gapfill.data.faces import generate
from gapfill.data.table import Table
from gapfill.errors import GapfillError, UsageError
from gapfill.inpainter import Inpainter
from gapfill.metrics.paired import Bootstrap

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
    # Three seconds a model that these tests have no use for.
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)
    return table


@pytest.fixture
def strangers(monkeypatch):
    """Three more models: one of noise for one square hole, two that fail, early and late."""
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    class Plain(Inpainter):
        """Fills with noise."""

        multiple = 1

        @dataclass(frozen=True)
        class Config:
            """Settings."""

        def fill(self, known, mask):
            return torch.rand(1, *known.shape[1:]).expand_as(known) * 2 - 1

    @gapfill.register("odd_noise")
    class Noise(Plain):
        """Fills with noise, another for each seed."""

        about = About(holes="square")
        stochastic = True

    @gapfill.register("odd_library")
    class Library(Plain):
        """Needs what is not here."""

        def fill(self, known, mask):
            raise GapfillError('needs a library: pip install "library"')

    @gapfill.register("odd_study")
    class Study(Plain):
        """Fails when it sees pictures."""

        def study(self, batches):
            raise ZeroDivisionError("no\nluck")


def labels(out):
    return [row["label"] for row in json.loads((out / "results.json").read_text())["models"]]


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
    assert results["schema"] == 2
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


def test_the_same_command_again_trains_nothing(small_set, tmp_path, monkeypatch, capsys):
    assert run(tmp_path) == 0
    first = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr("gapfill.fitting.Trainer", None)  # any training would now fail
    with (tmp_path / "models" / "cnn" / "seed-0" / "log.jsonl").open("a") as file:
        file.write('{"step": 4\n')  # a damaged line is named, and ends nothing
    assert run(tmp_path) == 0
    assert "log.jsonl: line 7 cannot be read: left out" in capsys.readouterr().err
    again = json.loads((tmp_path / "results.json").read_text())
    for one, two in zip(first["models"], again["models"], strict=True):
        assert one["scores"] == two["scores"]
        assert one["weights_digest"] == two["weights_digest"]


def test_seeds_repeat_and_report_the_spread(small_set, tmp_path):
    assert compare.main(["--models", "cnn", *SMALL, "--seeds", "3", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    row = results["models"][-1]
    assert [each["seed"] for each in row["runs"]] == [0, 1, 2]
    psnrs = [each["scores"]["center"]["hole_psnr"] for each in row["runs"]]
    assert len(set(psnrs)) == 3
    assert row["stability"]["hole_psnr"]["sd"] == pytest.approx(np.std(psnrs, ddof=1), rel=1e-4)
    assert row["scores"]["center"]["hole_psnr"]["mean"] == pytest.approx(np.mean(psnrs), rel=1e-6)
    # Every score of every run is kept, and the differences are those of all of them.
    scores = np.load(tmp_path / "scores.npz", allow_pickle=False)
    assert scores["names"].tolist() == [f"face-{n}" for n in range(48, 60)]
    assert scores["cnn/center/hole_psnr"].shape == (3, 12)
    assert scores["cnn/center/hole_psnr"].mean(1) == pytest.approx(psnrs, rel=1e-12)
    columns = {
        label: {"x": scores[f"{label}/center/hole_psnr"]} for label in ("mean", "telea", "cnn")
    }
    lead = Bootstrap(columns).lead("x", "higher")
    found = results["paired"]["lead"]["center"]["hole_psnr"]
    assert found["best"] == lead["best"]
    for label, values in lead["ahead"].items():
        assert found["ahead"][label] == pytest.approx(values, abs=2e-6)


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


def test_a_run_that_ends_below_the_mean_has_not_diverged(small_set, tmp_path):
    assert compare.main(["--models", "cnn", *SMALL, "--out", str(tmp_path)]) == 0
    mean, _, cnn = json.loads((tmp_path / "results.json").read_text())["models"]
    psnr = [row["scores"]["center"]["hole_psnr"]["mean"] for row in (mean, cnn)]
    assert psnr[1] < psnr[0]
    assert cnn["runs"][0]["diverged"] is False
    assert cnn["runs"][0]["below_floor"] is True
    assert cnn["stability"] | {"hole_psnr": None} == {
        "runs": 1, "diverged": 0, "below_floor": 1, "hole_psnr": None
    }  # fmt: skip
    assert "cnn: its only run ended below mean." in (tmp_path / "report.html").read_text()


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
        (["--seeds", "0"], "--seeds must be 1 to 1000; got 0."),
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


@pytest.fixture
def own_recipe(small_set, tmp_path):
    """Trains a recipe's run in a comparison's folder, or takes the one that is there."""
    from gapfill.compare import command, runs

    path = tmp_path / "own.yaml"

    def trained(text="", seed=0):
        path.write_text(f"model: cnn\nsettings: {{width: 4}}\n{text}")
        words = ["--models", str(path), *SMALL, "--seeds", "2", "--out", str(tmp_path / "out")]
        plan = command.make_plan(command.parser().parse_args(words))
        return runs._trained(plan, plan.entries[-1], seed)

    return trained


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flip: false\n", "flip: True there, False now"),
        ("train: {ema: 0.1}\n", "ema: 0.02 there, 0.1 now"),
        ("train: {clip: 1.0}\n", "clip: 0.0 there, 1.0 now"),
        ("train: {schedule: linear}\n", "schedule: cosine there, linear now"),
    ],
)
def test_a_run_is_not_taken_for_that_of_an_edited_recipe(own_recipe, tmp_path, text, said):
    first = own_recipe()
    home = tmp_path / "out" / "models" / "own" / "seed-0"
    assert message(own_recipe, text) == (
        f"{home} holds a run with other settings than 'own' has now ({said}). "
        "Give another --out, or delete it to train again."
    )
    assert own_recipe().training_run == first.training_run


def test_another_seeds_weights_are_not_taken(own_recipe, tmp_path):
    own_recipe()
    own_recipe(seed=1)
    homes = [tmp_path / "out" / "models" / "own" / f"seed-{seed}" for seed in (0, 1)]
    shutil.rmtree(homes[0])
    shutil.copytree(homes[1], homes[0])
    assert "(seed: 1 there, 0 now)" in message(own_recipe)


def test_the_time_of_a_fill_is_measured_alone_and_in_batches():
    found = evaluate.cost(gapfill.create("telea"), generate(1, 32), masks.draw("center", 0, 32))
    # How long it takes is the machine's business.
    assert found["latency_ms"] > 0
    assert found["throughput"] > 0
    assert (found["batch_size"], found["device"]) == (64, "cpu")


def chosen(*words):
    entries, left_out = stages.contestants(words, 32)
    return [entry.label for entry in entries], left_out


def planned(*words, out="x"):
    return command.make_plan(command.parser().parse_args([*words, *SMALL, "--out", str(out)]))


def test_what_stands_behind_a_colon_is_for_one_model_alone(small_set, tmp_path):
    words = "cnn:lr=5e-4,width=4", "cnn:steps=2,batch_size=4,mask=brush,train.ema=0", "cnn"
    plan = planned("--models", *words, out=tmp_path)
    first, second, plain = plan.entries[2:]
    assert [entry.label for entry in (first, second, plain)] == list(words)
    assert first.recipe.settings == {"lr": 5e-4, "width": 4}
    assert (first.recipe.train.steps, first.recipe.batch_size, first.recipe.mask) == (
        3,
        8,
        "center",
    )
    assert (second.recipe.train.steps, second.recipe.train.ema) == (2, 0)
    assert (second.recipe.batch_size, second.recipe.mask) == (4, "brush")
    assert plain.recipe.settings == {}


def test_both_recipes_of_dcgan_stand_in_one_table(small_set, tmp_path, capsys):
    small = "width=4,critic_width=4"
    words = [f"dcgan:recipe=paper,{small},steps=2", f"dcgan:recipe=radford,{small}"]
    command_line = ["--models", *words, *SMALL, "--out", str(tmp_path)]
    assert compare.main(command_line) == 0
    rows = json.loads((tmp_path / "results.json").read_text("utf-8"))["models"][2:]
    assert [row["label"] for row in rows] == words
    assert [row["config"]["recipe"] for row in rows] == ["paper", "radford"]
    assert [row["training"]["steps"] for row in rows] == [2, 3]
    assert [row["own"] for row in rows] == [["2 steps"], []]
    assert f"but {words[0]}: 2 steps" in unescape((tmp_path / "report.html").read_text("utf-8"))
    names = {path.name for path in (tmp_path / "models").iterdir()} - {"mean", "telea"}
    assert names == {word.replace(":", "-") for word in words}
    before = {name: (tmp_path / "models" / name / "seed-0" / "model").stat() for name in names}
    assert compare.main(command_line) == 0  # and trains nothing again
    after = {name: (tmp_path / "models" / name / "seed-0" / "model").stat() for name in names}
    assert {name: stat.st_mtime_ns for name, stat in before.items()} == {
        name: stat.st_mtime_ns for name, stat in after.items()
    }


def test_a_recipe_says_in_a_comparison_what_the_command_line_leaves_open(small_set, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: cnn\nbatch_size: 4\ntrain: {steps: 5, precision: fp32}\n")
    words = ["--models", str(recipe), f"{recipe}:batch_size=2,steps=7", "gan", "--size", "32"]
    for more, expected in (
        ([], [(5, 4), (7, 2), (None, 64)]),
        (["--steps", "9"], [(9, 4), (7, 2), (9, 64)]),
    ):
        plan = command.make_plan(command.parser().parse_args([*words, *more, "--out", "x"]))
        recipes = [entry.recipe for entry in plan.entries[2:]]
        assert [(each.train.steps, each.batch_size) for each in recipes] == expected
        assert recipes[2].train.budget == (None if more else short.BUDGET)
        assert recipes[0].train.precision == "fp32"


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ([], True),
        (["--budget", short.BUDGET], False),
        (["--steps", "9"], False),
        (["--batch-size", "16"], False),
        (["--data", "pictures"], False),
    ],
)
def test_the_comparison_of_minutes_alone_has_settings_of_its_own(words, own, tmp_path):
    save_pictures(tmp_path / "pictures", ["train/a.png", "val/b.png", "test/c.png"])
    words = [str(tmp_path / word) if word == "pictures" else word for word in words]
    models = ["dcgan", "dcgan:lr=1e-3", "unet", "--size", "32", "--out", str(tmp_path / "out")]
    plan = command.make_plan(command.parser().parse_args(["--models", *models, *words]))
    short_one, said, other = (entry.recipe for entry in plan.entries[2:])
    text = registry.model_class("dcgan").about.short_run
    assert short_one.settings == (settings.read(text, short_one, "").settings if own else {})
    assert short_one.batch_size == (32 if own else said.batch_size)
    assert dict(said.settings) == {"lr": 1e-3}
    assert not other.settings
    line = f" · set for a short run, not as in the paper: dcgan:{text}"
    assert stages.headline(plan).endswith(line) == own
    assert ("short run" in stages.headline(plan)) == own


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("cnn:widht=3", "cnn: unknown setting 'widht'. Did you mean 'width'? Known: batch_size, "),
        ("cnn:lr=9", "cnn: lr must be 1e-07 to 1; got 9.0 (float)."),
        ("cnn:steps=x", "cnn: steps must be a whole number; got 'x' (str)."),
        ("cnn:batch_size=1", "cnn: batch_size must be 2 to 65536; got 1 (int)."),
        ("cnn:seed=3", "cnn: 'seed' is not for one model: the runs of all models have the same "),
        ("flow:steps=3", "write settings.steps or train.steps."),
        ("cnn:width", "cnn: settings are said as cnn:NAME=VALUE; got 'width'."),
        ("cnn:width=3,lr", "cnn wants NAME=VALUE, such as width=32; got 'lr'."),
        ("telea:steps=3", "telea: unknown setting 'steps'. Known: radius"),
        ("unet@any:lr=1", "unet@any is trained already: it takes no settings (lr=1)."),
        ("cnn:mask=foo", "unknown mask kind 'foo'"),
        ("nope:lr=1", "unknown model 'nope'. "),
    ],
)
def test_settings_that_a_model_does_not_have_are_refused(small_set, word, said):
    assert said in message(planned, "--models", word)


def test_the_labels_of_settings_are_folders_on_every_system():
    assert settings.file_name("cnn:mask=file:a/b.png,lr=1") == "cnn-mask=file-a-b.png,lr=1"


def test_the_baselines_say_so_themselves_and_the_floor_comes_first():
    roles = {name: registry.model_class(name).about.baseline for name in registry.built_in()}
    assert [roles[name] for name in stages.baselines()] == ["floor", "line"]


def test_groups_wildcards_and_names_may_be_mixed():
    found, left_out = chosen("telea", "paper", "*gan", "mean")
    assert found[0] == "telea"
    assert found[-1] == "mean"
    assert {"cnn", "gan", "dcgan"} <= set(found)
    assert set(gapfill.list_models("*gan")) <= set(found)
    assert len(set(found)) == len(found)
    assert not left_out


def test_a_star_chooses_every_model(strangers):
    found, left_out = chosen("*")
    assert {*found, *left_out} == set(gapfill.list_models())
    assert left_out == {"odd_library": 'needs a library: pip install "library"'}


def test_a_group_holds_its_own_models_alone():
    found, _ = chosen("classical")
    assert "telea" in found
    assert all(registry.model_class(name).about.group == "classical" for name in found)


def test_a_group_without_models_and_a_wildcard_without_matches_are_refused():
    with pytest.raises(UsageError, match=r"no model of the group 'other' here\."):
        chosen("other")
    with pytest.raises(UsageError, match=r"no model is called anything like 'x\*'\. Known: "):
        chosen("x*")
    with pytest.raises(UsageError, match=r"Did you mean 'modern'\?"):
        chosen("modren")


def test_a_named_model_that_cannot_run_here_is_an_error_at_once(strangers):
    for words in (("odd_library",), ("odd_*", "odd_library")):
        with pytest.raises(GapfillError, match="needs a library"):
            chosen(*words)


def test_a_comparison_over_all_leaves_out_what_fails(small_set, strangers, tmp_path, capsys):
    words = ("--models", "odd_*", "mean", *SMALL, "--out", str(tmp_path))
    assert compare.main(list(words)) == 0
    said = capsys.readouterr()
    assert said.err.count("odd_library is left out: needs a library") == 1
    assert said.err.count("odd_study is left out: ZeroDivisionError: no luck\n") == 1
    assert "odd_study is left out: ZeroDivisionError: no luck" in said.out
    assert labels(tmp_path) == ["mean", "telea", "odd_noise"]
    assert "odd_library is left out" in (tmp_path / "report.html").read_text()


def test_a_named_model_that_fails_on_the_way_ends_the_comparison(small_set, strangers, tmp_path):
    words = ("--models", "odd_study", *SMALL, "--out", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        compare.main(list(words))


def test_every_model_is_scored_under_each_kind_of_mask(small_set, strangers, tmp_path, capsys):
    words = ("--models", "cnn", "odd_noise", "--masks", "center", "brush", "pixels", *SMALL)
    assert compare.main([*words, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "masks: center, brush, pixels (trained under center), seed 0" in out
    assert "\nhole PSNR dB" in out
    assert "† built for one square hole; the holes of brush and pixels are others" in out
    results = json.loads((tmp_path / "results.json").read_text())
    kinds = ["center", "brush", "pixels"]
    assert [mask["kind"] for mask in results["protocol"]["masks"]] == kinds
    assert [mask["square"] for mask in results["protocol"]["masks"]] == [True, False, False]
    assert results["protocol"]["trained_under"] == "center"
    for row in results["models"]:
        psnr = [row["scores"][kind]["hole_psnr"]["mean"] for kind in kinds]
        assert len(set(psnr)) == 3
        assert list(row["runs"][0]["scores"]) == kinds
    model = gapfill.load(tmp_path / "models" / "cnn" / "seed-0")
    real = small_set.part("test").images
    bank = masks.draw("brush", range(len(real)), 32)
    psnr = metrics.psnr_hole(model.inpaint(real, bank), real, bank).mean().item()
    cnn = next(row for row in results["models"] if row["label"] == "cnn")
    assert cnn["scores"]["brush"]["hole_psnr"]["mean"] == pytest.approx(psnr)


def test_models_may_train_under_other_masks_than_they_are_scored_under(small_set, tmp_path):
    words = ["--models", "cnn", "--mask", "rect+brush", "--masks", "half", *SMALL]
    assert compare.main([*words, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results["models"][-1]["scores"]) == ["half"]
    assert "--mask rect+brush --masks half" in results["command"]
    plan = json.loads((tmp_path / "models" / "cnn" / "seed-0" / "plan.json").read_text())
    assert plan["wanted"]["mask"] == "rect+brush"


def test_more_kinds_to_score_need_no_new_training(small_set, tmp_path, monkeypatch):
    words = ["--models", "cnn", *SMALL, "--out", str(tmp_path)]
    assert compare.main([*words, "--masks", "center"]) == 0
    monkeypatch.setattr("gapfill.fitting.Trainer", None)  # any training would now fail
    assert compare.main([*words, "--masks", "center", "half"]) == 0
    assert list(json.loads((tmp_path / "results.json").read_text())["models"][0]["scores"]) == [
        "center",
        "half",
    ]
    pictures = np.load(tmp_path / "pictures.npz", allow_pickle=False)
    real, half = pictures["real"][:6], pictures["kind-1/mask"].astype(bool)
    assert half.mean((1, 2, 3)) == pytest.approx(0.5, abs=1e-12)
    filled = pictures["kind-1/filled/cnn"]
    known = ~half.repeat(3, 1)
    assert (filled[known] == real[known]).all()
    assert not np.array_equal(filled, real)
    assert "Under half masks" in (tmp_path / "report.html").read_text()
    found = compare.Comparison(tmp_path)
    assert found.figure(under="half").axes
    with pytest.raises(UsageError, match="nothing was scored under 'halv'"):
        found.figure(under="halv")


def test_a_stochastic_model_shows_several_fills_and_their_diversity(small_set, strangers, tmp_path):
    words = ["--models", "odd_noise", *SMALL, "--out", str(tmp_path)]
    assert compare.main(words) == 0
    pictures = np.load(tmp_path / "pictures.npz", allow_pickle=False)
    samples = pictures["samples/odd_noise"]
    assert samples.shape == (6, *pictures["real"].shape)
    assert np.array_equal(samples[0], pictures["filled/odd_noise"])
    assert not np.array_equal(samples[0], samples[1])
    assert "samples/telea" not in pictures
    row = json.loads((tmp_path / "results.json").read_text())["models"][-1]
    spread = metrics.diversity(torch.from_numpy(samples), torch.from_numpy(pictures["mask"]))
    assert row["scores"]["center"]["diversity"]["mean"] == pytest.approx(spread.mean().item())
    page = (tmp_path / "report.html").read_text()
    assert "Different fills by odd_noise" in page
    assert f"(black to white = 1): {spread.mean().item():.3f}" in page


def test_a_finished_run_is_scored_whatever_new_ones_are_chosen_by(small_set, tmp_path, monkeypatch):
    monkeypatch.setattr("gapfill.metrics.lpips_missing", lambda side: "no network")
    assert run(tmp_path / "run", "--models", "gan") == 0
    monkeypatch.setattr("gapfill.metrics.lpips_missing", lambda side: "")
    assert run(tmp_path / "run", "--models", "gan") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))
    rules = {model["label"]: model["chosen_by"] for model in results["models"]}
    assert rules == {"mean": None, "telea": None, "gan": "hole_psnr and sharpness"}
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "weights chosen by hole psnr and sharpness" in page


@pytest.fixture
def colours(monkeypatch):
    """A network that sees the mean colours of a picture."""
    seen = metrics.Features(
        "colours",
        ("kd_colours", "KD-colours"),
        ("fd_colours", "FD-colours"),
        lambda images: images.double().mean((2, 3)) / 255,
    )
    monkeypatch.setattr("gapfill.metrics.load_features", lambda device, side: (seen, ""))
    return seen


def test_the_fills_as_a_set_are_held_against_real_pictures(small_set, colours, tmp_path, capsys):
    assert run(tmp_path / "run", "--models", "mean", "--masks", "center", "half") == 0
    out = capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))
    keys = [column["key"] for column in results["columns"]]
    assert keys[:4] == ["hole_psnr", "hole_ssim", "lpips", "kd_colours"]
    assert "fd_colours" not in keys  # twelve pictures are too few
    assert "KD-colours" in out
    test = small_set.part("test").images
    model = gapfill.load(tmp_path / "run" / "models" / "mean" / "seed-0" / "model")
    for kind in ("center", "half"):
        filled = model.inpaint(test, masks.draw(kind, range(12), 32, seed=0))
        expected = metrics.kernel_distances(colours.of(filled), colours.of(test), paired=True)
        entry = results["models"][0]["scores"][kind]["kd_colours"]
        assert entry["mean"] == pytest.approx(expected.mean().item())
        assert entry["sd"] == pytest.approx(expected.std().item())
        assert entry["se"] == pytest.approx(entry["sd"] / 10)
        assert entry["n"] == 12
        assert results["models"][0]["runs"][0]["scores"][kind]["kd_colours"] == entry["mean"]
    chosen = torch.linspace(0, 39, 12).round().long()
    seen = colours.of(small_set.part("train").images[chosen])
    real = metrics.kernel_distances(seen, colours.of(test), paired=False)
    about = results["sets"]
    assert (about["network"], about["subsets"], about["subset_size"]) == ("colours", 100, 6)
    assert about["real"]["kd_colours"]["mean"] == pytest.approx(real.mean().item())
    assert "KD-colours between real pictures, training and test: " in out
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "(KD-colours: over random subsets of them)" in page
    assert "± over random subsets of the 12 pictures" in page


def test_large_sets_have_the_frechet_distance_too(small_set, colours, tmp_path, monkeypatch):
    monkeypatch.setattr("gapfill.compare.sets.FRECHET_MIN", 12)
    exact = metrics.frechet_distance
    monkeypatch.setattr("gapfill.metrics.frechet_distance", lambda a, b: exact(a, b, min_n=12))
    assert run(tmp_path / "run", "--models", "mean") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))
    assert [column["key"] for column in results["columns"]][3:5] == ["kd_colours", "fd_colours"]
    entry = results["models"][0]["scores"]["center"]["fd_colours"]
    assert entry["mean"] > 0
    assert (entry["se"], entry["n"]) == (None, 12)
    assert results["sets"]["real"]["fd_colours"]["mean"] > 0


def test_without_a_network_the_column_says_why(small_set, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gapfill.metrics.load_features", lambda device, side: (None, "no network"))
    assert run(tmp_path / "run", "--models", "mean") == 0
    assert "KD-VGG16: no network" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text("utf-8"))
    assert results["sets"]["network"] is None
    assert results["sets"]["real"] == {}


def test_json_on_stdout_is_json_alone(small_set, tmp_path, capsys):
    assert compare.main(["--models", "telea", *SMALL, "--out", str(tmp_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 2


def test_a_comparison_mirrors_no_pictures_if_told_so(small_set, tmp_path, capsys):
    words = ["--models", "cnn", *SMALL, "--out", str(tmp_path)]
    plan = command.make_plan(command.parser().parse_args([*words, "--no-flip"]))
    assert {entry.recipe.flip for entry in plan.entries} == {False}
    assert plan.wanted["flip"] is False
    assert "--no-flip" in plan.command
    assert "--no-flip True" not in plan.command
    again = command.make_plan(command.parser().parse_args(words))
    assert {entry.recipe.flip for entry in again.entries} == {True}


def save_pictures(folder, names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = generate(1, 32, seed=number)[0].permute(1, 2, 0).numpy()
        Image.fromarray(picture).save(folder / name)


@pytest.mark.parametrize(
    ("names", "count", "said"),
    [
        ([f"{n}.png" for n in range(24)], 24, "24 of other, all of them"),
        (["train/a.png", "test/b.png"], 1, "1 of other, the test pictures by the folders train/"),
    ],
)
def test_test_pictures_are_scored_whole_unless_they_are_split(tmp_path, names, count, said):
    save_pictures(tmp_path / "data", ["train/a.png", "val/b.png"])
    save_pictures(tmp_path / "other", names)
    words = ["--models", "mean", *SMALL, "--data", str(tmp_path / "data")]
    words += ["--test", str(tmp_path / "other"), "--out", str(tmp_path / "out")]
    plan = command.make_plan(command.parser().parse_args(words))
    assert len(plan.test) == count
    first = stages.headline(plan)
    assert (
        f"data (1 train, 1 val), 32×32, split by the folders train/, val/ · scored on {said}"
        in first
    )


def test_results_and_page_say_how_the_pictures_were_split(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)
    save_pictures(tmp_path / "data", ["train/a.png", "train/b.png", "test/c.png", "25.png"])
    (tmp_path / "data" / "d.heic").touch()
    words = ["--models", "mean", *SMALL, "--data", str(tmp_path / "data")]
    assert compare.main([*words, "--out", str(tmp_path / "out")]) == 0
    notes = (
        "1 of 4 pictures is in none of the split's folders and was split by the hash of the name "
        "(first: 25.png)",
        "passed over, as no format that is read: 1 .heic",
    )
    first = capsys.readouterr().out.splitlines()[0]
    found = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))["data"]
    page = unescape((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert found["split"] == "the folders train/, test/"
    assert found["notes"] == list(notes)
    assert "Its pictures are split by the folders train/, test/." in page
    for note in notes:
        assert note in first
        assert f"Pictures: {note}." in page


@pytest.fixture
def fills(monkeypatch):
    """The labels of the models that filled the test pictures, in order."""
    made, whole = [], compare.runs.fill_all

    def counted(model, *arguments):
        made.append(model.name)
        return whole(model, *arguments)

    monkeypatch.setattr("gapfill.compare.runs.fill_all", counted)
    return made


def test_a_finished_comparison_asked_again_scores_nothing(small_set, fills, tmp_path, capsys):
    loud = [word for word in SMALL if word != "--quiet"]
    words = ["--models", "cnn", *loud, "--out", str(tmp_path)]
    assert compare.main(words) == 0
    assert fills == ["mean", "telea", "cnn"]
    files = [tmp_path / name for name in ("scores.npz", "pictures.npz")]
    before = [path.read_bytes() for path in files]
    first = json.loads((tmp_path / "results.json").read_text())
    assert "kept from before" not in capsys.readouterr().err
    assert compare.main(words) == 0
    assert fills == ["mean", "telea", "cnn"]
    assert f"same weights, pictures, masks, metrics and code. Delete {tmp_path / 'scores'} to" in (
        capsys.readouterr().err
    )
    assert [path.read_bytes() for path in files] == before
    again = json.loads((tmp_path / "results.json").read_text())
    same = ("models", "paired", "sets", "protocol", "data", "columns")
    assert [again[key] for key in same] == [first[key] for key in same]
    assert first["measurements"] == {"kept": 0, "made": 7}  # three models' scores, costs; the floor
    assert again["measurements"] == {"kept": 7, "made": 0}
    assert "7 of 7 kept from before" in (tmp_path / "report.html").read_text()


def test_only_what_changed_is_scored_anew(small_set, fills, tmp_path, monkeypatch):
    words = ["--models", "cnn", *SMALL, "--out", str(tmp_path)]
    assert compare.main(words) == 0
    fills.clear()
    assert compare.main([*words, "--masks", "center", "half"]) == 0
    assert fills == ["mean", "telea", "cnn"]  # under the new masks
    fills.clear()
    assert compare.main(["--models", "cnn", "navier_stokes", *words[2:]]) == 0
    assert fills == ["navier_stokes"]
    fills.clear()
    for path in (tmp_path / "scores").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert compare.main(words) == 0
    assert fills == ["mean", "telea", "cnn"]
    fills.clear()
    monkeypatch.setattr("gapfill.compare.kept._code", lambda: "another version")
    assert compare.main(words) == 0
    assert fills == ["mean", "telea", "cnn"]


def test_costs_are_measured_anew_under_other_masks(small_set, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "gapfill.compare.evaluate.cost",
        lambda model, image, mask: seen.append(mask.mean().item()) or {"latency_ms": 1.0},
    )
    words = ["--models", "telea", *SMALL, "--out", str(tmp_path)]
    for kind in ("center", "center", "half"):
        assert compare.main([*words, "--masks", kind, "--mask", "center"]) == 0
    assert seen == [0.25, 0.25, 0.5, 0.5]  # mean and telea, under each kind once


def test_other_weights_and_other_test_pictures_are_scored_anew(small_set, fills, tmp_path):
    out = ["--out", str(tmp_path / "out")]
    with torch.random.fork_rng():
        model = gapfill.create("cnn", size=32, width=4)
    model.fit([small_set.images[:8]], steps=1, quiet=True)
    model.save(tmp_path / "mine")
    words = ["--models", str(tmp_path / "mine"), *SMALL, *out]
    assert compare.main(words) == 0
    fills.clear()
    model.fit([small_set.images[8:16]], steps=1, quiet=True)
    model.save(tmp_path / "mine", overwrite=True)
    assert compare.main(words) == 0
    assert fills == ["cnn"]
    fills.clear()
    small_set.images[50, 0, 0, 0] ^= 1
    assert compare.main([*words[:-1], str(tmp_path / "other")]) == 0
    assert fills == ["mean", "telea", "cnn"]


def test_fills_that_are_the_truth_itself_have_no_score_and_harm_nothing(small_set, tmp_path):
    small_set.images[:] = 90  # the mean picture is every picture: an infinite PSNR
    assert compare.main(["--models", "telea", *SMALL, "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["models"]
    assert rows[0]["scores"]["center"]["hole_psnr"]["mean"] is None
    assert rows[0]["worst"][0]["hole_psnr"] is None
