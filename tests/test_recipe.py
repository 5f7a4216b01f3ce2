from dataclasses import MISSING, fields
from pathlib import Path

import pytest

import gapfill
from gapfill.config import plain
from gapfill.errors import UsageError
from gapfill.recipe import Recipe, read_recipe

yaml = pytest.importorskip("yaml")

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def message(path):
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text, "the error does not name the file"
    return text


def default(field):
    return field.default if field.default is not MISSING else field.default_factory()


def test_there_are_recipes():
    assert len(CONFIGS) >= 4


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_is_read_and_its_model_made(path):
    recipe = read_recipe(path)
    model = recipe.create()
    assert model.name == recipe.model
    assert plain(model.config).items() >= dict(recipe.settings).items()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_holds_only_what_differs_from_the_defaults(path):
    written = yaml.safe_load(path.read_text())
    recipe = read_recipe(path)
    for place, defaults, given in (
        ("", {f.name: default(f) for f in fields(Recipe) if f.name != "model"}, written),
        ("settings.", plain(type(recipe.create()).Config()), written.get("settings", {})),
        ("train.", plain(Recipe("cnn").train), written.get("train", {})),
    ):
        same = [place + key for key, value in given.items() if defaults.get(key, MISSING) == value]
        assert not same, f"{path.name} repeats defaults: {', '.join(same)}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_says_in_a_comment_what_it_is(path):
    assert path.read_text().startswith("# ")


def test_the_paper_recipe_is_another_model_than_dcgan():
    configs = {path.stem: read_recipe(path).create().config for path in CONFIGS}
    assert configs["paper"] != configs["dcgan"]
    assert configs["paper"].recipe == "paper"


def test_a_recipe_takes_all_that_a_run_is(tmp_path):
    recipe = read_recipe(
        write(
            tmp_path,
            "model: cnn\nsettings: {size: 32, width: 4, lr: 2.0e-4}\nmask: rect+brush\n"
            "batch_size: 4\nflip: false\ntrain: {epochs: 2, ema: 0}\n",
        )
    )
    assert (recipe.model, recipe.mask, recipe.batch_size, recipe.flip) == (
        "cnn",
        "rect+brush",
        4,
        False,
    )
    assert (recipe.train.epochs, recipe.train.ema) == (2, 0)
    assert recipe.create().config == gapfill.create("cnn", size=32, width=4, lr=2e-4).config


def test_a_recipe_that_is_not_there_says_so(tmp_path):
    path = tmp_path / "none.yaml"
    assert message(path) == f"cannot read the recipe {path}: No such file or directory."


@pytest.mark.parametrize(
    "text", ["model: [", "a: b: c", "\tmodel: cnn", "model: !!python/name:os.system"]
)
def test_what_is_no_yaml_says_so_in_one_line(tmp_path, text):
    path = write(tmp_path, text)
    assert message(path).startswith(f"{path} is no YAML: ")


def test_a_binary_file_is_no_yaml(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\x89PNG\xff\x00")
    assert message(path).startswith(f"{path} is no YAML: ")


@pytest.mark.parametrize("text", ["- cnn\n", "cnn", "7"])
def test_a_recipe_holds_settings_by_name(tmp_path, text):
    assert "expected settings by name" in message(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "# nothing\n", "mask: rect\n"])
def test_a_recipe_needs_a_model(tmp_path, text):
    path = write(tmp_path, text)
    assert message(path) == f"{path}: the setting 'model' is missing."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model: cnn\nmodle: gan\n", ": unknown setting 'modle'. Did you mean 'model'?"),
        ("model: 7\n", ": model must be text; got 7 (int)."),
        ("model: cnn\nbatch_size: 1\n", ": batch_size must be 2 to 65536; got 1 (int)."),
        ("model: cnn\nflip: 1\n", ": flip must be true or false; got 1 (int)."),
        ("model: cnn\nsettings: wide\n", ": settings must be settings by name; got 'wide' (str)."),
        (
            "model: cnn\nsettings: {widht: 8}\n",
            ": settings: unknown setting 'widht'. Did you mean 'width'?",
        ),
        (
            "model: cnn\nsettings: {lr: 2e-4}\n",
            ": settings: lr must be a number; got '2e-4' (str). "
            "YAML reads this as text: write 2.0e-4.",
        ),
        (
            "model: dcgan\nsettings: {recipe: papers}\n",
            ": settings: recipe: 'papers' (str)? Did you mean 'paper'? Known: paper, radford",
        ),
        ("model: cnn\ntrain: {epoch: 2}\n", ": train: unknown setting 'epoch'. Did you mean"),
        (
            "model: cnn\ntrain: {steps: 0}\n",
            ": train: steps must be 1 to 1,000,000,000; got 0 (int).",
        ),
        ("model: cnn\ntrain: {schedule: step}\n", ": train: schedule: 'step' (str)?"),
    ],
)
def test_a_mistake_names_the_file_and_the_setting(tmp_path, text, wanted):
    path = write(tmp_path, text)
    assert message(path).startswith(f"{path}{wanted}")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("model: dcgam\n", "unknown model 'dcgam'. Did you mean 'dcgan'?"),
        ("model: cnn\nmask: centre\n", "'centre'"),
        ("model: cnn\ntrain: {steps: 5, epochs: 2}\n", "give one of steps, epochs and budget"),
        ("model: cnn\ntrain: {budget: soon}\n", "budget must be a time such as 90s, 10m or 1h"),
    ],
    ids=["model", "mask", "lengths", "budget"],
)
def test_a_mistake_in_what_a_recipe_names_names_the_file_too(tmp_path, text, wanted):
    assert wanted in message(write(tmp_path, text))
