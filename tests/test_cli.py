import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gapfill
from gapfill import trunks
from gapfill.commands import main as cli
from gapfill.errors import GapfillError
from gapfill.train import InterruptedRun

SMALL = ("--device", "cpu", "--precision", "fp32", "--quiet", "--batch-size", "4")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep the cache, and what the user's machine may have set, out of the tests."""
    monkeypatch.setenv("GAPFILL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GAPFILL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path):
    """A folder of small pictures."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
    return root


@pytest.fixture
def photo(tmp_path):
    """A photo and its mask."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    hole = np.zeros((40, 50), np.uint8)
    hole[10:20, 15:30] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(hole).save(tmp_path / "mask.png")
    return pixels, hole > 0


def run(*words):
    """The exit code, whether the command returns it or leaves with it."""
    try:
        return cli.main([str(word) for word in words])
    except SystemExit as leaving:
        return leaving.code


def mistake(capsys, *words, code=2):
    """The one line that a mistake gets."""
    assert run(*words) == code
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    return lines[0]


def fit(folder, out, *words, model="cnn"):
    settings = ("--data", folder, "--size", 32, "--set", "size=32", "--set", "width=4")
    return run("fit", model, *settings, *SMALL, "--out", out, *words)


def names(text):
    """The first word of each line but the heading's."""
    heading, *lines = text.splitlines()
    assert heading.split()[:3] == ["model", "group", "year"]
    return [line.split()[0] for line in lines]


def test_list_shows_every_model_in_a_table_as_wide_as_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    assert run("list") == 0
    said = capsys.readouterr()
    assert sorted(names(said.out)) == gapfill.list_models()
    assert max(map(len, said.out.splitlines())) <= 110
    telea = next(line for line in said.out.splitlines() if line.startswith("telea"))
    assert telea.split()[1:4] == ["classical", "2004", "Telea:"]
    assert said.err == ""


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        (("*gan",), lambda cls: cls.name.endswith("gan")),
        (("--group", "paper"), lambda cls: cls.about.group == "paper"),
        (
            ("--group", "paper", "--group", "classical"),
            lambda cls: cls.about.group in ("paper", "classical"),
        ),
        (("--no-training",), lambda cls: not cls(cls.Config()).needs_training),
        (("--holes", "any"), lambda cls: cls.about.holes == "any"),
        (("t*", "--group", "classical"), lambda cls: cls.name == "telea"),
    ],
)
def test_list_chooses_by_name_and_by_what_a_model_is(capsys, words, fits):
    from gapfill.registry import model_class

    assert run("list", *words) == 0
    wanted = [name for name in gapfill.list_models() if fits(model_class(name))]
    assert wanted
    assert sorted(names(capsys.readouterr().out)) == wanted


@pytest.fixture
def noisy(monkeypatch):
    """A registered stochastic model, built for one square hole."""
    from gapfill import registry
    from gapfill.about import About
    from gapfill.inpainter import Inpainter

    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    @gapfill.register("noisy")
    class Noisy(Inpainter):
        """Fills with noise."""

        about = About(holes="square")
        stochastic = True

        @dataclass(frozen=True)
        class Config:
            """Settings."""

        def fill(self, known, mask):
            return torch.rand(1, *known.shape[1:]).expand_as(known)


def test_list_finds_stochastic_models_and_those_of_square_holes(capsys, noisy):
    assert run("list", "--stochastic") == 0
    assert "noisy" in names(capsys.readouterr().out)
    assert run("list", "--holes", "square", "no*") == 0
    assert names(capsys.readouterr().out) == ["noisy"]
    assert run("list", "--holes", "any", "no*") == 0
    assert capsys.readouterr().out == ""


def test_list_writes_json_to_stdout_and_to_a_file(capsys, tmp_path):
    assert run("list", "--json", "-") == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted(row["name"] for row in rows) == gapfill.list_models()
    assert {"summary", "title", "read", "licence", "macs", "settings"} <= rows[0].keys()
    assert run("list", "--json", tmp_path / "deep" / "list.json") == 0
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "deep" / "list.json").read_text()) == rows


def test_list_names_a_broken_plug_in_with_its_reason(capsys, monkeypatch):
    from importlib.metadata import EntryPoint

    from gapfill import registry

    point = EntryPoint("lost", "plug_lost:Model", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert run("list") == 0
    said = capsys.readouterr()
    assert "cnn" in names(said.out)
    assert said.err.startswith(
        "left out: the plug-in plug_lost:Model for 'lost' cannot be imported"
    )
    assert run("list", "lo*", "--json", "-") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], "cannot be imported" in row["error"]) == ("lost", True)


def test_list_shows_a_model_that_cannot_be_made(capsys, monkeypatch):
    from gapfill import registry
    from gapfill.inpainter import Inpainter

    class Silent(Inpainter):
        pass

    Silent.__doc__ = None
    registry.list_models()
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    gapfill.register("silent")(Silent)
    assert run("list", "silent") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "'silent' cannot be made with its defaults" in said.err


def test_doctor_says_what_is_here_as_json(capsys):
    assert run("doctor", "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gapfill"] == gapfill.__version__
    assert facts["torch"] == torch.__version__
    assert facts["models"] == ", ".join(gapfill.list_models())
    assert facts["cache"].startswith(str(Path.cwd() / "home"))
    assert {"python", "device", "precision", "cuda", "lpips", "threads"} <= facts.keys()
    assert {"alexnet", "vgg16"} <= facts.keys()


def test_doctor_speaks_to_people_too(capsys):
    assert run("doctor") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["gapfill"] == gapfill.__version__


def test_doctor_fetches_the_trunks_that_are_missing_and_no_other(capsys, monkeypatch, tmp_path):
    missing, asked = {"vgg16"}, []

    def find(name):
        if name in missing:
            raise trunks.NoTrunkError(f"no {name}")
        return {}, Path("here", name)

    def fetch(name, progress):
        asked.append((name, progress))
        missing.remove(name)
        return tmp_path / name

    monkeypatch.setattr(trunks, "find", find)
    monkeypatch.setattr(trunks, "fetch", fetch)
    monkeypatch.setattr("gapfill.metrics.load_lpips", lambda device: (None, "no lpips"))
    assert run("doctor") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["lpips"] == "no lpips"
    assert lines["alexnet"] == f"from {Path('here', 'alexnet')}"
    assert lines["vgg16"] == "no vgg16"
    assert not asked
    assert run("doctor", "--fetch-lpips") == 0
    said = capsys.readouterr()
    assert said.err == f"wrote {tmp_path / 'vgg16'}\n"
    assert f"from {Path('here', 'vgg16')}" in said.out
    assert asked == [("vgg16", False)]


def test_fit_trains_and_saves_a_model(capsys, folder, tmp_path):
    assert fit(folder, tmp_path / "run", "--steps", 2) == 0
    assert capsys.readouterr().out == ""
    model = gapfill.load(tmp_path / "run" / "model")
    assert (model.name, model.config.size, model.config.width) == ("cnn", 32, 4)
    assert model.training_cost is not None
    assert model.training_cost["steps"] == 2
    assert model.training_cost["batch_size"] == 4
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"plan.json", "log.jsonl", "checkpoint-00000002.pt", "model"} <= names


def test_fit_says_what_it_reads_and_writes_unless_it_is_quiet(capsys, folder, tmp_path):
    words = ("--data", folder, "--size", 32, "--out", tmp_path / "run")
    assert run("fit", "mean", "--set", "size=32", *words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    first, *_, last = said.err.splitlines()
    assert first.startswith("data: ")
    assert "masks: " not in first  # a mean learns from whole pictures
    assert last == f"wrote {tmp_path / 'run' / 'model'}"
    assert gapfill.load(tmp_path / "run").training_data == folder.name
    assert run("fit", "mean", "--set", "size=32", *words, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_the_same_seed_gives_the_same_model_to_the_bit(folder, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        assert fit(folder, tmp_path / name, "--steps", 2, "--seed", seed) == 0

    def weights(name):
        model = gapfill.load(tmp_path / name / "model")
        return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])

    assert torch.equal(weights("one"), weights("two"))
    assert not torch.equal(weights("one"), weights("three"))


def test_the_same_command_again_goes_on_and_another_is_refused(capsys, folder, tmp_path):
    out = tmp_path / "run"
    assert fit(folder, out, "--steps", 2) == 0
    before = (out / "log.jsonl").read_text()
    assert fit(folder, out, "--steps", 2) == 0
    assert (out / "log.jsonl").read_text() == before
    capsys.readouterr()
    assert fit(folder, out, "--steps", 3) == 2
    assert "holds a run with other settings (steps: 2 there, 3 now)" in capsys.readouterr().err


def test_fit_makes_the_model_for_the_size_of_the_pictures(folder, tmp_path):
    words = ("--data", folder, "--size", 32, "--set", "width=4", "--steps", 1, *SMALL)
    assert run("fit", "gan", *words, "--out", tmp_path / "run") == 0
    assert gapfill.load(tmp_path / "run" / "model").config.size == 32


def test_a_size_is_the_command_lines_else_the_settings(capsys, folder, tmp_path):
    words = ("--data", folder, "--set", "width=4", "--steps", 1, *SMALL)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model: cnn\nsettings: {size: 48}\n")
    for number, (model, more, size) in enumerate(
        [
            ("cnn", ("--set", "size=32"), 32),
            (recipe, (), 48),
            (recipe, ("--size", 32), 32),
            (recipe, ("--set", "size=32"), 32),
            ("cnn", ("--set", "size=32", "--size", 32), 32),
        ]
    ):
        out = tmp_path / str(number)
        assert run("fit", model, *words, *more, "--out", out) == 0
        assert gapfill.load(out).config.size == size
    both = ("--set", "size=32", "--size", 48, "--out", tmp_path / "both")
    assert run("fit", "cnn", *words, *both) == 2
    assert "--size 48 and --set size=32 are two sizes." in capsys.readouterr().err
    assert run("fit", "cnn", *words, "--set", "size=big", "--out", tmp_path / "big") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_recipe_says_what_the_command_line_leaves_open(folder, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "model: cnn\nsettings: {size: 32, width: 4}\nmask: rect\nbatch_size: 6\n"
        "train: {steps: 2, seed: 5, precision: fp32, ema: 0}\n"
    )
    words = ("--data", folder, "--size", 32, "--device", "cpu", "--quiet")
    assert run("fit", recipe, *words, "--out", tmp_path / "run") == 0
    wanted = json.loads((tmp_path / "run" / "plan.json").read_text())["wanted"]
    assert (wanted["steps"], wanted["ema"], wanted["mask"]) == (2, 0, "rect")
    assert (wanted["seed"], wanted["precision"]) == (5, "fp32")
    cost = gapfill.load(tmp_path / "run" / "model").training_cost
    assert cost is not None
    assert cost["batch_size"] == 6


def test_the_command_line_overrules_a_recipe(folder, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "model: cnn\nsettings: {size: 32, width: 8, lr: 0.01}\nmask: rect\n"
        "train: {epochs: 50, seed: 5}\n"
    )
    words = ("--steps", 1, "--mask", "center", "--seed", 3)
    assert fit(folder, tmp_path / "run", *words, model=recipe) == 0
    wanted = json.loads((tmp_path / "run" / "plan.json").read_text())["wanted"]
    assert (wanted["steps"], wanted["epochs"], wanted["mask"]) == (1, None, "center")
    assert wanted["seed"] == 3
    assert (wanted["config"]["width"], wanted["config"]["lr"]) == (4, 0.01)


def test_fill_fills_a_photo_with_a_saved_model(capsys, folder, photo, tmp_path):
    pixels, hole = photo
    assert fit(folder, tmp_path / "run", "--steps", 1) == 0
    out = tmp_path / "filled.png"
    words = (tmp_path / "photo.png", tmp_path / "mask.png", "--device", "cpu", "--out", out)
    assert run("fill", tmp_path / "run" / "model", *words) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"wrote {out}\n")
    with Image.open(out) as picture:
        filled = np.array(picture)
    assert (filled[~hole] == pixels[~hole]).all()
    assert (filled[hole] != pixels[hole]).any()


def test_fill_needs_no_training_for_a_classical_model(capsys, photo, tmp_path):
    words = ("fill", "telea", "photo.png", "mask.png", "--quiet", "--out", "filled.png")
    assert run(*words) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "filled.png").is_file()


def test_fill_with_a_model_that_is_not_trained_says_so(capsys, photo):
    line = mistake(capsys, "fill", "cnn", "photo.png", "mask.png", "--out", "a.png")
    assert line == (
        "gapfill: 'cnn' has to be trained first: gapfill fit cnn --out runs/cnn, "
        "then give runs/cnn instead. Or give weights that come with gapfill: cnn@center."
    )


def test_a_failure_that_is_no_usage_error_exits_with_1(capsys, photo):
    line = mistake(capsys, "fill", "telea", "gone.png", "mask.png", "--out", "a.png", code=1)
    assert "gone.png" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_where_there_is_none_is_one_line(capsys, folder, photo, tmp_path):
    wanted = "gapfill: --device cuda asked, but this PyTorch sees no CUDA device."
    words = ("fit", "cnn", "--data", folder, "--out", tmp_path / "run", "--device", "cuda")
    assert mistake(capsys, *words) == wanted
    words = ("fill", "telea", "photo.png", "mask.png", "--out", "a.png", "--device", "cuda")
    assert mistake(capsys, *words) == wanted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "gapfill: the following arguments are required: COMMAND. See gapfill --help."),
        (("fitt", "cnn"), "invalid choice: 'fitt'"),
        (("fit", "cnn"), "the following arguments are required: --out. See gapfill fit --help."),
        (
            ("fit", "cnn", "--out", "r", "--step", "3"),
            "gapfill fit: unrecognized arguments: --step 3. See gapfill fit --help.",
        ),
        (
            ("fit", "cnn", "--out", "r", "--set", "width=8", "lr=1e-4"),
            "arguments: lr=1e-4. Each setting needs a --set of its own. See gapfill fit --help.",
        ),
        (("--steps", "3", "list"), "gapfill: "),
        (("fit", "cnn", "--out", "r", "--steps", "many"), "invalid int value: 'many'"),
        (("fit", "cnn", "--out", "r", "--steps", "1", "--epochs", "2"), "not allowed with"),
        (("fit", "cnn", "--out", "r", "--precision", "fp8"), "invalid choice: 'fp8'"),
        (("fit", "dcgam", "--out", "r"), "unknown model 'dcgam'. Did you mean 'dcgan'?"),
        (("fit", "none.yaml", "--out", "r"), "cannot read the recipe none.yaml"),
        (("fit", "cnn", "--out", "r", "--set", "width"), "--set wants NAME=VALUE"),
        (("fit", "cnn", "--out", "r", "--set", "=4"), "--set wants NAME=VALUE"),
        (("fit", "cnn", "--out", "r", "--set", "widht=4"), "Did you mean 'width'?"),
        (("fit", "cnn", "--out", "r", "--set", "lr=2e-4x"), "lr must be a number; got '2e-4x'"),
        (("fit", "cnn", "--out", "r", "--set", "width=["), "--set"),
        (("fit", "cnn", "--out", "r", "--device", "gpu"), "unknown device 'gpu'."),
        (("fit", "cnn", "--out", "r", "--budget", "soon"), "budget must be a time such as"),
        (("fit", "cnn", "--out", "r", "--mask", "centre"), "'centre'"),
        (("fit", "cnn", "--out", "r", "--size", "4"), "size"),
        (("fit", "cnn", "--out", "r", "--seed", "-1"), "seed must be 0 to 9.22"),
        (("fit", "cnn", "--out", "r", "--crop", "left"), "crop is 'left'"),
        (("fit", "unet@small", "--out", "r"), "or gapfill fit unet --from unet@small."),
        (("fit", "dcgan:width=8", "--out", "r"), "gapfill fit takes --set width=8."),
        (("fit", "cnn", "--out", "r", "--set", "steps=8"), "but --steps says it."),
        (("fit", "cnn", "--out", "r", "--set", "batch_size=8"), "but --batch-size says it."),
        (("fit", "cnn", "--out", "r", "--mask", "banana"), "inverted-file:PATH"),
        (("card", "/nowhere/x"), "no weights of '/nowhere/x' come with gapfill."),
        (("card", "*"), "no weights of '*' come with gapfill."),
        (("card", ""), "one of the words is empty; is a variable of the shell unset?"),
        (("fill", "telea", "", "mask.png", "--out", "x.png"), "one of the words is empty"),
        (
            ("fill", "telea", "p.png", "m.png", "--out", "x.png", "--quality", "80"),
            "--quality is of .jpg and .webp; a .png keeps every pixel.",
        ),
        (("export", "/nowhere/x", "--out", "a.onnx"), "there is nothing at /nowhere/x, and no"),
        (("fill", "telae", "photo.png", "mask.png", "--out", "a.png"), "Did you mean 'telea'?"),
        (("fill", "telea", "photo.png", "mask.png", "--out", "a.bmp"), "--out must end in .png"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_usage_error_is_one_line_and_exits_with_2(capsys, folder, photo, words, text):
    where = ("--data", folder) if words[:1] == ("fit",) else ()
    assert text in mistake(capsys, *words, *where)


def test_a_list_of_nothing_says_so(capsys):
    for words in (["nothing"], ["nothing", "--pretrained"]):
        assert cli.main(["list", *words]) == 0
        said = capsys.readouterr()
        assert not said.out
        assert said.err == "no model is like this; gapfill list shows all of them\n"


@pytest.mark.parametrize("length", [("--steps", 0), ("--epochs", 0), ("--budget", "0s")])
def test_a_run_of_no_length_is_refused(capsys, folder, tmp_path, length):
    assert fit(folder, tmp_path / "run", *length) == 2
    assert length[0].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, -4])
def test_a_batch_of_nothing_is_refused(capsys, folder, tmp_path, size):
    words = ("--data", folder, "--size", 32, "--set", "size=32", "--steps", 1)
    line = mistake(
        capsys, "fit", "cnn", *words, "--out", tmp_path / "run", "--batch-size", size, "--quiet"
    )
    assert str(size) in line


def test_a_folder_without_pictures_is_one_line(capsys, tmp_path):
    (tmp_path / "none").mkdir()
    words = ("fit", "cnn", "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert "no pictures found in" in mistake(capsys, *words, code=1)


def test_debug_shows_the_traceback_after_the_command(photo):
    with pytest.raises(GapfillError):
        cli.main(["fill", "cnn", "photo.png", "mask.png", "--out", "a.png", "--debug"])


def test_debug_shows_the_traceback_before_the_command(photo):
    with pytest.raises(GapfillError):
        cli.main(["--debug", "fill", "cnn", "photo.png", "mask.png", "--out", "a.png"])


@pytest.mark.parametrize("words", [("--version",), ("fit", "--version"), ("list", "--version")])
def test_version_is_told(capsys, words):
    assert run(*words) == 0
    assert capsys.readouterr().out == f"gapfill {gapfill.__version__}\n"


def test_an_interrupted_command_exits_with_130(capsys, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gapfill.commands.list.run", interrupted)
    assert run("list") == 130
    assert capsys.readouterr().err == "gapfill: interrupted.\n"


def test_a_terminated_command_exits_with_143(capsys, monkeypatch):
    def terminated(options):
        raise InterruptedRun("saved.", signal.SIGTERM)

    monkeypatch.setattr("gapfill.commands.list.run", terminated)
    assert run("list") == 143
    assert capsys.readouterr().err == "gapfill: saved.\n"


@pytest.mark.parametrize("command", ["list", "fit", "compare", "fill", "doctor"])
def test_every_command_explains_itself(capsys, command):
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: gapfill {command}")
    assert "--debug" in text


def test_help_imports_nothing_heavy():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['gapfill', '--help']\n"
        "try:\n"
        "    runpy.run_module('gapfill', run_name='__main__')\n"
        "except SystemExit as leaving:\n"
        "    assert leaving.code == 0, leaving.code\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'PIL', 'torchvision', 'timm', 'yaml'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: gapfill")
    assert done.stderr == "", f"--help imports {done.stderr}"


def test_fit_mirrors_no_pictures_if_told_so(folder, tmp_path):
    def flips(out, *words):
        assert fit(folder, out, "--steps", 1, *words) == 0
        return json.loads((out / "plan.json").read_text())["wanted"]["flip"]

    assert flips(tmp_path / "one") is True
    assert flips(tmp_path / "two", "--no-flip") is False
