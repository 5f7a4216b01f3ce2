"""Weights that come with the package: found by name, whole, and described."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from common import message

import gapfill
from gapfill import checkpoint, pretrained, registry, testing
from gapfill.commands.main import main
from gapfill.compare.entries import contestants
from gapfill.data import Stream
from gapfill.errors import GapfillError, UsageError

SHIPPED = [(name, tag) for name in pretrained.names() for tag in pretrained.tags(name)]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package with two kinds of weights of one small model."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    for tag in ("center", "any"):
        with torch.random.fork_rng():
            torch.manual_seed(len(tag))
            model = testing.trained(gapfill.create("cnn", size=32, width=4))
        model.half().save(tmp_path / "cnn" / tag)
        (tmp_path / "cnn" / tag / "card.md").write_text(f"# cnn, {tag}\n", encoding="utf-8")
    return tmp_path


def test_weights_are_found_by_name_the_most_general_first(shelf):
    assert pretrained.names() == ["cnn"]
    assert pretrained.tags("cnn") == ("any", "center")
    assert gapfill.list_models(pretrained=True) == ["cnn"]
    general, center = (gapfill.create("cnn", pretrained=tag) for tag in (True, "center"))
    assert general.config.width == 4
    assert general.trained
    saved = gapfill.load(shelf / "cnn" / "any").state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in general.state_dict().items())
    assert not torch.equal(next(general.parameters()), next(center.parameters()))


def test_half_precision_is_the_file_s_and_not_the_model_s(shelf):
    tensors, _ = checkpoint.load_weights(shelf / "cnn" / "any" / "model.safetensors")
    assert {each.dtype for each in tensors.values() if each.is_floating_point()} == {torch.float16}
    assert next(gapfill.create("cnn", pretrained=True).parameters()).dtype == torch.float32


def test_what_there_is_not_is_said_in_one_line(shelf):
    assert message(gapfill.create, "gan", pretrained=True) == (
        "no weights of 'gan' come with gapfill. There are those of: cnn."
    )
    assert "no weights of 'cnn' are called 'centre'. Did you mean 'center'?" in message(
        gapfill.create, "cnn", pretrained="centre"
    )
    assert "the weights of cnn@any were made with width=4, not 8; only settings" in message(
        gapfill.create, "cnn", pretrained=True, width=8
    )


def test_a_name_on_the_command_line_means_its_weights(shelf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert registry.open_model("cnn").trained
    assert registry.open_model("cnn@center").trained
    for path in (shelf / "cnn" / "any").iterdir():
        path.unlink()
    for name in ("gan", "cnn"):  # weights for one square hole are not taken for any photo
        with pytest.raises(UsageError, match="has to be trained first"):
            registry.open_model(name)


def test_a_comparison_takes_them_by_name_and_tag(shelf):
    found, _ = contestants(["cnn@pretrained", "cnn@center"], 32)
    assert [each.label for each in found] == ["cnn@pretrained", "cnn@center"]
    assert [each.folder for each in found] == [shelf / "cnn" / "any", shelf / "cnn" / "center"]


def test_the_list_names_each_of_them_and_what_it_learnt_from(shelf, capsys):
    assert main(["list", "--pretrained"]) == 0
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    assert [row[0] for row in rows] == ["weights", "cnn@any", "cnn@center"]
    assert rows[1][1:4] == ["32", "rect", "3"]
    assert "gapfill card" in shown.err
    assert main(["list", "gan", "--pretrained"]) == 0
    assert not capsys.readouterr().out
    assert main(["list", "--pretrained", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    size = (shelf / "cnn" / "any" / "model.safetensors").stat().st_size
    assert [each["tag"] for each in found] == ["any", "center"]
    assert found[0]["megabytes"] == size / 1e6


def test_the_card_is_shown(shelf, capsys):
    assert main(["card", "cnn@center"]) == 0
    assert capsys.readouterr().out == "# cnn, center\n"
    assert main(["card", "lsgan"]) == 2
    assert "no weights of 'lsgan'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "tag"), SHIPPED)
def test_what_ships_fills_and_says_what_it_is(name, tag):
    model = gapfill.create(name, pretrained=tag)
    image, mask = testing.pictures(model, 2), testing.holes(model, 2)
    filled = model.inpaint(image, mask)
    assert torch.equal(filled[(mask == 0).expand_as(image)], image[(mask == 0).expand_as(image)])
    text = pretrained.card(name, tag)
    for word in ("non-commercial", "gapfill fit", "CelebA", "±", "goes wrong"):
        assert word in text, word
    digest = checkpoint.digest_of(pretrained.folder_of(name, tag) / "model.safetensors")
    assert digest in text


def test_what_ships_is_small_in_the_wheel():
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in filter(Path.is_file, pretrained.FOLDER.rglob("*")):
            archive.write(path)
    assert len(wheel.getbuffer()) < 40e6


@pytest.fixture
def generators_only(tmp_path):
    model = testing.trained(gapfill.create("gan", size=32, width=4))
    model.half().save(tmp_path / "small", critics=False)
    return tmp_path / "small"


def test_weights_without_critics_fill_and_are_saved_so_again(generators_only, tmp_path):
    tensors, about = checkpoint.load_weights(generators_only / "model.safetensors")
    assert {name.split(".")[0] for name in tensors} == {"generator"}
    assert about["without"] == ["critic"]
    model = gapfill.load(generators_only)
    image, mask = testing.pictures(model), testing.holes(model)
    model.save(tmp_path / "again")
    assert torch.equal(
        gapfill.load(tmp_path / "again").inpaint(image, mask), model.inpaint(image, mask)
    )
    assert not any(
        "critic" in name
        for name in checkpoint.load_weights(tmp_path / "again" / "model.safetensors")[0]
    )


def test_a_training_says_that_the_critic_begins_anew(generators_only, tmp_path, capsys):
    def further(steps=3):
        model = gapfill.load(generators_only)
        stream = Stream(testing.pictures(model), 3)
        return model.fit(stream, steps=steps, out=tmp_path / "run", device="cpu", precision="fp32")

    whole = further()
    said = "gan: the given weights have no 'critic', which learns from the beginning"
    assert capsys.readouterr().err.count(said) == 1
    saved = gapfill.load(tmp_path / "run")
    assert saved.new_critics == whole.new_critics == ()
    further()  # finished: nothing is begun
    assert said not in capsys.readouterr().err


def test_only_critics_may_be_missing(generators_only):
    for wrong, reason in (
        ("generator", "they are without 'generator', which is none"),
        ("", "critic"),
    ):
        tensors, about = checkpoint.load_weights(generators_only / "model.safetensors")
        about |= {"without": [wrong] if wrong else []}
        checkpoint.save_weights(generators_only / "model.safetensors", tensors, about)
        checkpoint.write_json(generators_only / "config.json", about)
        with pytest.raises(GapfillError, match=reason):
            gapfill.load(generators_only)
