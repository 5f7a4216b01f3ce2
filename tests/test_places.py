"""Where things are and shall go: homes, names that mean two things, mistakes found before work."""

from pathlib import Path

import numpy as np
import pytest
import torch
from common import message
from PIL import Image

import gapfill
from gapfill import cache, checkpoint
from gapfill.commands import main as cli
from gapfill.errors import GapfillError

LONG = "a" * 5000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    (tmp_path / "me").mkdir()


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = gapfill.create("cnn", size=32, width=4)
    model.trained = True
    return model


@pytest.fixture
def photo(tmp_path):
    hole = np.zeros((32, 32), np.uint8)
    hole[8:16, 8:16] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return "photo.png", "mask.png"


def failure(capsys, *words):
    """The one line and the exit code of a command that fails."""
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as leaving:
        code = leaving.code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0], code


@pytest.mark.parametrize("option", ["--data", "--extra", "--mask"])
def test_a_name_of_thousands_of_letters_is_one_short_line(capsys, option):
    value = f"file:{LONG}" if option == "--mask" else LONG
    Path("pictures").mkdir()
    line, code = failure(capsys, "fit", "mean", "--out", "r", option, value)
    assert code in (1, 2)
    assert len(line) < 600, line
    for model in (LONG, f"{LONG}.yaml"):
        line, code = failure(capsys, "fit", model, "--out", "r")
        assert code in (1, 2)
    for words in (("compare", "--models", LONG), ("compare", "--models", "cnn", "--test", LONG)):
        line, code = failure(capsys, *words)
        assert code in (1, 2)


def test_without_a_home_there_is_a_cache_all_the_same(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("GAPFILL_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(nobody))
    assert "gapfill" in cache.cache_folder().name
    assert gapfill.list_models()


def test_a_tilde_is_the_home_and_no_folder(trained, tmp_path):
    trained.save("~/models/one")
    assert (tmp_path / "me" / "models" / "one" / "config.json").is_file()
    assert gapfill.load("~/models/one").name == "cnn"
    assert not Path("~").exists()
    assert message(gapfill.load, "~nobody-of-this-name/x").startswith("~nobody")


def test_the_home_of_nobody_is_one_line(capsys):
    nobody = "~nobody-of-this-name"
    assert cli.main(["compare", "--models", f"pictures:{nobody}/x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for call in (gapfill.compare.Comparison, gapfill.loggers.TensorBoard):
        assert nobody in message(call, f"{nobody}/run")


def test_a_folder_with_the_name_of_a_model_does_not_stand_in_its_way(capsys, trained, photo):
    Path("telea").mkdir()
    Path("cnn").mkdir()
    assert cli.main(["fill", "telea", *photo, "--out", "a.png", "--quiet"]) == 0
    line, code = failure(capsys, "fill", "cnn", *photo, "--out", "b.png")
    assert "'cnn' has to be trained first: gapfill fit cnn --out runs/cnn" in line
    assert code == 2
    trained.save("cnn")
    assert cli.main(["fill", "cnn", *photo, "--out", "b.png", "--quiet"]) == 0


def test_a_place_where_nothing_can_be_written_is_found_before_the_work(capsys, photo, monkeypatch):
    Path("file").write_text("x", "utf-8")
    monkeypatch.setattr("gapfill.data.open_table", lambda *a, **k: pytest.fail("work was begun"))
    monkeypatch.setattr("gapfill.fill.photo.open_model", lambda *a: pytest.fail("work was begun"))
    for words in (
        ("fit", "mean", "--out", "file"),
        ("fit", "mean", "--out", "file/run"),
        ("compare", "--models", "cnn", "--out", "file/run"),
        ("compare", "--models", "cnn", "--json", "."),
        ("compare", "--models", "cnn", "--json", "file/a.json"),
        ("fill", "telea", *photo, "--out", "file/a.png"),
    ):
        line, code = failure(capsys, *words)
        assert "cannot write" in line, line
        assert code == 2
    assert sorted(path.name for path in Path().iterdir()) == ["file", "mask.png", "me", "photo.png"]


def test_the_two_files_of_a_saved_model_mean_their_folder(trained):
    trained.save("m")
    wanted = trained.state_dict()
    for path in ("m", "m/model.safetensors", "m/config.json"):
        found = gapfill.load(path).state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gone", "there is no saved model at gone, and no model has this name. Known: "),
        ("cnn", "there is no folder cnn; a new model of this name is gapfill.create('cnn')."),
        ("dcgam", "there is no saved model at dcgam, and no model has this name. Did you mean"),
        ("empty", "empty holds no saved model: there is no config.json."),
        ("file", "file is no folder of a saved model: there is no config.json."),
        ("begun", "begun holds a run that has not finished: there is no begun/model in it yet."),
        (LONG, "there is no saved model at aaa"),
    ],
)
def test_what_cannot_be_loaded_is_said(path, text):
    Path("empty").mkdir()
    Path("begun").mkdir()
    Path("begun/plan.json").write_text("{}", "utf-8")
    Path("file").write_text("x", "utf-8")
    assert message(gapfill.load, path).startswith(text)


@pytest.mark.parametrize("change", ["settings", "model", "card"])
def test_a_model_of_a_newer_version_says_so(trained, change):
    about = {"model": "cnn", "config": {"size": 32, "width": 4}, "gapfill": "99.1.0"}
    about |= {
        "settings": {"config": {"size": 32, "depth": 9}},
        "model": {"model": "of_tomorrow"},
        "card": {"licence": "new"},
    }[change]
    checkpoint.save_weights(Path("m/model.safetensors"), trained.state_dict(), about)
    checkpoint.write_json(Path("m/config.json"), about)
    text = message(gapfill.load, "m", error=GapfillError)
    assert text.endswith(
        f" It was saved by gapfill 99.1.0, and this is {gapfill.__version__}: install that one."
    )


def test_another_saved_model_is_not_overwritten_unless_it_is_said(trained):
    trained.save("m", data="one")
    trained.save("m", data="the same weights again")
    other = gapfill.create("cnn", size=32, width=4)
    other.trained = True
    assert message(other.save, "m") == (
        "m holds another saved model. Give overwrite=True, or another folder."
    )
    other.save("m", overwrite=True)
    assert checkpoint.holds(Path("m/model.safetensors"), other.state_dict())


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is a GPU of Apple's")
def test_apples_gpu_where_there_is_none_is_one_line(capsys):
    line, code = failure(capsys, "fit", "cnn", "--out", "r", "--device", "mps")
    assert line == "gapfill: --device mps asked, but this PyTorch sees no GPU of Apple's."
    assert code == 2


def test_an_error_of_the_system_is_one_line(capsys, monkeypatch):
    def fail(*options):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr("gapfill.registry.list_models", fail)
    line, code = failure(capsys, "list")
    assert (line, code) == ("gapfill: somewhere: No space left on device.", 1)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "lr=2020-99-99",
            "lr=!!int x",
            "lr=!!int ",
            "lr=!!float x",
            "lr=!!bool x",
            "lr=!!timestamp x",
        ),
        *("lr=" + "[" * 3000, "width=" + "9" * 5000, "lr=" + "9" * 400, "width=" + "9" * 4000),
        *("lr=2020-01-01", "lr=.nan", "lr=.inf", "width=-.inf", "lr=!!python/name:os.system x"),
        *("lr=&a [*a]", "lr={? {a: 1} : 2}", "lr=!!set {1}", "lr=!!binary x", "width=" + LONG),
        *("lr=\x00", "lr=!!omap x", "lr=0x" + "f" * 5000, "width=1:" + "9" * 4000, "lr=<<: 1"),
    ],
)
def test_a_setting_that_yaml_chokes_on_is_one_short_line(capsys, value):
    line, code = failure(capsys, "fit", "cnn", "--out", "r", "--set", value)
    assert code == 2
    assert len(line) < 500, line
    Path("r.yaml").write_text(f"model: cnn\nsettings: {{{value.replace('=', ': ', 1)}}}\n", "utf-8")
    line, code = failure(capsys, "fit", "r.yaml", "--out", "r")
    assert code == 2
    assert len(line) < 900, line


def test_help_tells_no_default_twice_and_none_that_is_nothing(capsys):
    for command in ("fit", "compare", "fill", "list", "doctor", "score", "bank"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "(default: None)" not in text
        assert "(default: False)" not in text
        assert "(default: [])" not in text
        assert ") (default" not in text


def test_a_model_that_lacks_something_here_says_so(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert cli.main(["list", "biharmonic"]) == 0
    assert "it lacks scikit-image: pip install scikit-image" in capsys.readouterr().err
    assert cli.main(["doctor"]) == 0
    assert "lacking" in (out := capsys.readouterr().out)
    assert "biharmonic: scikit-image" in out
