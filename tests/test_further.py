"""Training further: from given weights, with other settings of learning, in a run of its own."""

import pytest
import torch
from common import Ending, Killed, message, same

import gapfill
from gapfill import checkpoint, pretrained, registry, testing
from gapfill.commands.main import main
from gapfill.data import Stream
from gapfill.errors import GapfillError

SMALL = {"size": 32, "width": 4}
STEPS = {"steps": 4, "precision": "fp32", "device": "cpu", "log_every": 1, "save_seconds": 0.0}


def fit(model, out=None, **more):
    images = testing.pictures(model, 12)
    return model.fit(Stream(images, 4), out=out, **STEPS | {"quiet": True} | more)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The folder of a finished run, which was watched."""
    folder = tmp_path_factory.mktemp("runs") / "given"
    model = gapfill.create("cnn", **SMALL)
    fit(model, folder, val=testing.pictures(model, 4), watch=2)
    return folder


def killed(step, model, out, **more):
    with pytest.raises(Killed):
        model.fit(Ending(step, testing.pictures(model, 12)), out=out, quiet=True, **STEPS | more)
    return out


def test_a_run_from_given_weights_is_resumed_exactly_and_keeps_where_it_began(given, tmp_path):
    whole = fit(gapfill.load(given), tmp_path / "whole")
    killed(2, gapfill.load(given), tmp_path / "cut")
    cut = fit(gapfill.load(given), tmp_path / "cut")
    assert same(whole, cut)
    for model in (cut, gapfill.load(tmp_path / "cut")):
        assert model.began_with == {
            "name": "given",
            "digest": checkpoint.digest_of(given / "model" / "model.safetensors"),
            "data": "",
        }
        assert model.training_pictures.trainings == 2
        initial = checkpoint.digest(gapfill.load(given).state_dict())
        assert model.training_run["initial_weights"] == initial


def test_other_weights_to_begin_with_are_another_run(given, tmp_path):
    fit(gapfill.load(given), tmp_path / "run")
    text = message(fit, gapfill.load(tmp_path / "run"), tmp_path / "run")
    assert "holds a run with other settings (initial_weights: " in text
    assert gapfill.load(given).began_with is None


def test_settings_of_learning_may_be_others_and_no_more(given):
    model = gapfill.load(given, lr=1e-4, dropout=0.0)
    assert (model.config.lr, model.config.dropout, model.config.width) == (1e-4, 0.0, 4)
    assert same(model, gapfill.load(given))
    assert model.began_with is None
    assert model.loaded_from["name"] == "given"
    assert message(gapfill.load, given, lr=1e-4, width=8) == (
        "cnn: the weights of given were made with width=4, not 8; "
        "only settings that say how a model learns may be others."
    )
    assert "unknown setting 'depth'" in message(gapfill.load, given, depth=2)


def test_a_setting_that_changes_fills_but_no_weights_is_refused(tmp_path):
    model = testing.trained(gapfill.create("dcgan", critic_width=4, **SMALL))
    model.save(tmp_path / "whole")
    assert "recipe=radford, not paper" in message(gapfill.load, tmp_path / "whole", recipe="paper")
    assert "critic_width=4" in message(gapfill.load, tmp_path / "whole", critic_width=8)
    model.save(tmp_path / "small", critics=False)
    assert gapfill.load(tmp_path / "small", critic_width=8).config.critic_width == 8


def test_what_a_run_has_kept_is_loaded_finished_or_not(given, tmp_path):
    assert same(gapfill.load(given, which="best"), gapfill.load(given))
    cut = killed(3, gapfill.create("cnn", **SMALL), tmp_path / "cut", ema=0.0)
    state = checkpoint.load(cut / "checkpoint-00000003.pt")
    last = gapfill.load(cut, which="last")
    assert all(
        torch.equal(last.state_dict()[name], state["module"][name]) for name in state["module"]
    )
    assert last.training_cost["steps"] == 3
    assert last.training_run["weights"] == "last, at step 3"
    image, mask = testing.pictures(last), testing.holes(last)
    assert last.inpaint(image, mask).shape == image.shape
    assert "takes the weights that it has so far" in message(gapfill.load, cut)
    assert "has no best weights" in message(gapfill.load, cut, which="best")
    assert "'best' or 'last'; got 'first'" in message(gapfill.load, cut, which="first")
    assert "is no run's folder" in message(gapfill.load, tmp_path, which="last")
    for path in cut.glob("checkpoint-*"):
        path.write_bytes(b"")
    assert "is damaged" in message(gapfill.load, cut, which="last", error=GapfillError)
    for path in cut.glob("checkpoint-*"):
        path.unlink()
    assert "has no checkpoint yet" in message(gapfill.load, cut, which="last")


def test_a_cut_run_says_where_its_weights_come_from(given, tmp_path):
    model = gapfill.load(given, lr=1e-4)
    earlier = model.training_pictures
    cut = killed(3, model, tmp_path / "cut", data="drawn, free for all", ema=0.0)
    last = gapfill.load(cut, which="last")
    assert last.training_data == "drawn, free for all"
    assert last.began_with["name"] == "given"
    seen = last.training_pictures
    assert (seen.trainings, seen.others) == (2, False)
    assert seen.among(testing.pictures(last, 8)).all()
    assert set(earlier.pictures.tolist()) <= set(seen.pictures.tolist())
    last.save(tmp_path / "kept")
    assert gapfill.load(tmp_path / "kept").loaded_from["data"] == "drawn, free for all"
    (cut / "origin.json").unlink()
    (cut / "seen.safetensors").unlink()
    old = gapfill.load(cut, which="last")
    assert (old.training_data, old.training_pictures.others) == ("", True)


def test_another_run_leaves_the_origin_in_the_folder_alone(given, tmp_path):
    cut = killed(3, gapfill.load(given), tmp_path / "cut", data="ours")
    stream = Stream(testing.pictures(gapfill.load(given), 8), 4)
    assert "other settings" in message(
        gapfill.create("cnn", **SMALL).fit, stream, steps=9, out=cut, data="theirs", quiet=True
    )
    assert gapfill.load(cut, which="last").training_data == "ours"


@pytest.fixture
def run(tmp_path):
    """`gapfill fit` on a few pictures of its own; returns the exit code."""
    from PIL import Image

    (tmp_path / "faces").mkdir()
    for number, each in enumerate(testing.pictures(gapfill.create("cnn", **SMALL), 24)):
        Image.fromarray(each.permute(1, 2, 0).numpy()).save(tmp_path / "faces" / f"{number}.png")

    def call(model, *words, out="run", steps=2):
        where = ("--data", tmp_path / "faces", "--out", tmp_path / out, "--steps", steps)
        fast = ("--batch-size", 4, "--device", "cpu", "--precision", "fp32")
        return main([str(word) for word in ("fit", model, *words, *where, *fast)])

    return call


def test_fit_says_under_which_masks_the_given_weights_learned(run, given, tmp_path, capsys):
    assert run("cnn", "--from", given) == 0
    assert run("cnn", "--from", given, "--mask", "rect", out="rect") == 0
    assert "--mask goes on so" not in capsys.readouterr().err
    assert run("cnn", "--from", tmp_path / "rect", out="again") == 0
    assert "the weights learned under rect: --mask goes on so" in capsys.readouterr().err


def test_fit_goes_on_from_a_folder(run, given, tmp_path, capsys):
    assert run("cnn", "--from", given, "--set", "lr=1.0e-4") == 0
    model = gapfill.load(tmp_path / "run")
    assert (model.config.size, model.config.lr) == (32, 1e-4)
    assert model.began_with["name"] == "given"
    capsys.readouterr()
    assert run("cnn", "--from", given, "--set", "lr=1.0e-4", steps=3) == 2
    longer = f"To train it longer, begin a run from its weights: gapfill fit … --from {tmp_path}"
    assert longer in capsys.readouterr().err
    level = ("--schedule", "constant")
    assert run("cnn", "--from", tmp_path / "run", *level, out="longer", steps=3) == 0
    longer = gapfill.load(tmp_path / "longer")
    assert longer.training_pictures.trainings == 3
    assert longer.training_run["schedule"] == "constant"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("unet", "--from", "GIVEN"),
            "weights of given are a 'cnn's, whose network is not that",
        ),
        (("mean", "--from", "GIVEN"), "'mean' learns all at once, and begins with no weights."),
        (("context_encoder", "--from", "GIVEN", "--set", "width=8"), "of this 'context_encoder'."),
        (("context_encoder", "--from", "GIVEN", "--set", "depth=2"), "unknown setting 'depth'"),
        (("cnn", "--from", "GIVEN", "--set", "width=8"), "were made with width=4, not 8"),
        (("cnn", "--from", "nowhere"), "there are no weights at nowhere: give the folder"),
        (("cnn", "--from", "cnn"), "no weights of 'cnn' come with gapfill."),
        (("cnn", "--which", "last"), "--which is for --from RUN."),
    ],
)
def test_what_cannot_be_begun_with_is_said(run, given, capsys, monkeypatch, words, said):
    monkeypatch.setattr(pretrained, "FOLDER", given / "none")
    assert run(*(given if word == "GIVEN" else word for word in words)) == 2
    assert said in capsys.readouterr().err


def test_what_comes_with_the_package_is_trained_further(given, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    gapfill.load(given).half().save(tmp_path / "cnn" / "any")
    for model in (
        gapfill.create("cnn", pretrained=True, lr=1e-4),
        registry.open_weights("cnn@any", "cnn", settings={"lr": 1e-4}),
    ):
        assert fit(model).began_with["name"] == "cnn@any"
        assert model.config.lr == 1e-4


def test_another_model_with_the_same_network_begins_with_its_weights(given, capsys):
    before = gapfill.load(given)
    model = registry.open_weights(str(given), "context_encoder", settings={"lr_critic": 1e-3})
    assert (model.name, model.config.size, model.config.width) == ("context_encoder", 32, 4)
    fresh = gapfill.create("context_encoder")
    assert model.config.adversarial == fresh.config.adversarial
    assert (model.config.lr, model.config.lr_critic) == (fresh.config.lr, 1e-3)
    image, mask = testing.pictures(before), testing.holes(before)
    assert torch.equal(model.inpaint(image, mask), before.inpaint(image, mask))
    fit(model, quiet=False)
    assert "the given weights have no 'critic'" in capsys.readouterr().err
    assert model.began_with["name"] == "given"
    assert model.training_pictures.trainings == 2


def test_parts_of_other_names_are_the_same_network(tmp_path):
    source = testing.trained(gapfill.create("pix2pix", critic_width=4, **SMALL))
    source.save(tmp_path / "given", data="ours", critics=False)
    model = registry.open_weights(str(tmp_path / "given"), "unet")
    image, mask = testing.pictures(source), testing.holes(source)
    assert torch.equal(model.inpaint(image, mask), source.inpaint(image, mask))
    assert model.loaded_from["data"] == "ours"
    assert model.new_critics == ()
    assert message(registry.open_weights, str(tmp_path / "given"), "lama").endswith(
        "are a 'pix2pix's, whose network is not that of this 'lama'."
    )


def test_no_fit_takes_the_place_of_what_another_left(given, tmp_path):
    before = checkpoint.digest_of(given / "model" / "model.safetensors")
    mean = gapfill.create("mean", size=32)
    images = testing.pictures(gapfill.load(given), 8)
    assert message(mean.fit, Stream(images, 4), out=given, quiet=True) == (
        f"{given} holds a run of another model. Give another --out."
    )
    gapfill.load(given).save(tmp_path / "alone" / "model")
    for other in (mean, gapfill.create("unet", **SMALL)):
        settings = {} if other is mean else STEPS
        text = message(other.fit, Stream(images, 4), out=tmp_path / "alone", quiet=True, **settings)
        assert "holds a saved 'cnn', whose place this one would take." in text
    assert checkpoint.digest_of(given / "model" / "model.safetensors") == before
    folder = tmp_path / "mean"
    for _ in range(2):  # the same again may be made again
        mean.fit(Stream(images, 4), out=folder, quiet=True)
    text = message(mean.fit, Stream(images[:4], 4), out=folder, quiet=True)
    assert "holds a saved 'mean'" in text


@pytest.mark.parametrize("words", [("--mask", "rect"), ("--steps", "9"), ("--precision", "fp32")])
def test_what_learns_all_at_once_has_no_settings_of_training(tmp_path, capsys, words):
    assert main(["fit", "mean", "--out", str(tmp_path / "run"), *words]) == 2
    assert capsys.readouterr().err.endswith(
        f"'mean' does not learn by steps: {words[0]} is not for it.\n"
    )
