"""How people call it: what their loaders, masks and validation pictures look like."""

import contextlib
import json
import pickle
from copy import deepcopy

import pytest
import torch
from common import message
from torch.utils.data import DataLoader, TensorDataset

import gapfill
from gapfill import masks, metrics, testing
from gapfill.data.items import open_item, pictures_of

TRAIN = {"steps": 2, "precision": "fp32", "device": "cpu", "quiet": True, "log_every": 1}


def small(name="cnn"):
    torch.manual_seed(0)
    return gapfill.create(name, size=32, width=4)


def pictures(count=4):
    return testing.pictures(small(), count)


def weights(model):
    return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])


HOLES = masks.draw("brush", range(4), 32)
FORMS = {
    "tensor": pictures(),
    "with labels": (pictures(), torch.arange(4)),
    "array": pictures().numpy(),
    "channels last": pictures().permute(0, 2, 3, 1).numpy(),
    "dictionary": {"label": torch.arange(4), "image": pictures()},
    "dictionary of arrays": {"pixel_values": pictures().numpy()},
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_every_form_train_alike(form):
    wanted = weights(small().fit([pictures()], **TRAIN))
    assert torch.equal(weights(small().fit([FORMS[form]], **TRAIN)), wanted)


def test_grey_pictures_are_grey_in_three_channels():
    grey = pictures()[:, :1]
    for item in (grey, grey.permute(0, 2, 3, 1).numpy()):
        assert torch.equal(open_item(item)[0], grey.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    "form",
    [HOLES, HOLES.bool(), HOLES[:, 0], HOLES.byte() * 255, HOLES.permute(0, 2, 3, 1).numpy()],
    ids=["float", "bool", "no channel", "255", "array, channels last"],
)
def test_masks_beside_the_pictures_are_used(form):
    wanted = weights(small().fit([pictures()], mask=HOLES, **TRAIN))
    assert torch.equal(weights(small().fit([(pictures(), form)], **TRAIN)), wanted)
    by_name = {"image": pictures(), "mask": form}
    assert torch.equal(weights(small().fit([by_name], **TRAIN)), wanted)
    assert not torch.equal(weights(small().fit([pictures()], **TRAIN)), wanted)


def test_masks_of_a_shuffling_loader_stay_with_their_pictures():
    seen = []

    class Noting(gapfill.registry.model_class("cnn")):
        def loss(self, batch):
            seen.append((batch.image.clone(), batch.mask.clone()))
            return super().loss(batch)

    model = Noting(Noting.Config(size=32, width=4))
    loader = DataLoader(TensorDataset(pictures(8), masks.draw("brush", range(8), 32)), 4, True)
    model.fit(loader, **TRAIN)
    assert len(seen) == 2
    for image, mask in seen:
        for one, hole in zip(image, mask, strict=True):
            near = (pictures(8) / 127.5 - 1 - one).abs().flatten(1).amax(1).argmin()
            assert torch.equal(hole, masks.draw("brush", near, 32)[0])


def test_masks_of_the_loader_and_others_asked_for_are_refused():
    text = message(small().fit, [(pictures(), HOLES)], mask="rect", **TRAIN)
    assert text.startswith("the loader gives masks with its pictures, and mask= asks for others")


def test_a_second_thing_that_is_no_mask_is_named(capsys):
    noisy = [(pictures(), pictures().float())]
    small().fit(noisy, **{**TRAIN, "quiet": False})
    assert (
        "beside the pictures the loader gives [4, 3, 32, 32] float32, no masks of 0 and 1: "
        "they are not used" in capsys.readouterr().err
    )
    small().fit([(pictures(), torch.arange(4))], **{**TRAIN, "quiet": False})
    assert "beside the pictures" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("loader", "text"),
    [
        ([pictures(), pictures(2).repeat(2, 1, 1, 1)[..., :16, :16]], "pictures of 16×16 after"),
        ([(pictures(), HOLES), pictures()], "batch 1 of the loader (from 0) lacks masks"),
        ([{"label": 1}], "a batch with label has no pictures: name them one of image, images"),
        (pictures(), "fit takes batches of pictures, not Tensor: give gapfill.Stream(images)."),
        (pictures().numpy(), "give gapfill.Stream(torch.from_numpy(images))."),
        ("faces", "give gapfill.Stream(gapfill.open_table('faces').part('train').images)."),
        ([(pictures(), HOLES * 0)], "the mask is empty"),
    ],
)
def test_what_cannot_be_trained_on_says_what_to_do(loader, text):
    assert text in message(small().fit, loader, **TRAIN)


def test_a_setting_of_the_model_says_where_it_belongs():
    text = message(small().fit, [pictures()], lr=1e-3, **TRAIN)
    assert text == "fit: 'lr' is a setting of the model: gapfill.create('cnn', lr=…)."


ALONE = ("cnn", "gan")


@pytest.mark.parametrize("name", [*ALONE, "context_encoder", "glcic"])
def test_a_batch_of_one_trains_or_says_that_it_cannot(name):
    model = small(name)
    refused = pytest.raises(gapfill.UsageError, match="cannot learn from a batch of one picture")
    with contextlib.nullcontext() if name in ALONE else refused:
        model.fit([pictures(1)], **TRAIN)
    assert model.trained == (name in ALONE)


@pytest.mark.parametrize("how", ["tensor", "array", "loader", "pairs", "table", "path", "stream"])
def test_validation_pictures_may_come_in_any_way(how, tmp_path):
    from PIL import Image

    images = pictures(6)
    for number, one in enumerate(images):
        Image.fromarray(one.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    table = gapfill.open_table(tmp_path, size=32)
    val = {
        "tensor": images,
        "array": images.numpy(),
        "loader": DataLoader(TensorDataset(images), 4),
        "pairs": [(images[:4], torch.arange(4)), images[4:]],
        "table": table,
        "path": str(tmp_path),
        "stream": gapfill.Stream(images, batch_size=2),
    }[how]
    found = pictures_of(val, 32)
    assert found.shape[1:] == (3, 32, 32)
    assert len(found) == (6 if table.validation is None or how != "table" else len(found))
    model = small().fit([pictures()], val=val, watch=1, **TRAIN)
    assert any("val/score" in line for line in model.history)


def test_what_cannot_be_validated_on_is_refused():
    assert "val takes pictures, a loader, a table or a folder, not int." in message(
        small().fit, [pictures()], val=3, **TRAIN
    )


def test_a_runs_folder_holds_the_trained_model(tmp_path):
    for name in ("cnn", "mean"):
        model = small() if name == "cnn" else gapfill.create(name, size=32)
        model.fit(gapfill.Stream(pictures(), 4), out=tmp_path / name, data="faces", **TRAIN)
        again = gapfill.load(tmp_path / name)
        assert torch.equal(weights(again), weights(model))
        assert '"data": "faces"' in (tmp_path / name / "model" / "config.json").read_text("utf-8")


def test_a_place_where_nothing_can_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("x", "utf-8")
    text = message(small().fit, iter(()), out=tmp_path / "file" / "run", **TRAIN)
    assert text.startswith("cannot write into")


def test_masks_to_train_with_may_be_a_tensor_and_belong_to_the_run(tmp_path):
    run = {"out": tmp_path / "run", **TRAIN}
    model = small().fit(gapfill.Stream(pictures(), 4), mask=HOLES, val=pictures(), **run)
    assert torch.isfinite(weights(model)).all()
    stream = gapfill.Stream(pictures(), 4)
    text = message(small().fit, stream, mask=1 - HOLES, val=pictures(), **run)
    assert "other settings (mask: tensor:" in text
    for bad, wanted in ((HOLES[0], "must be a tensor [M, 1, S, S]"), (HOLES * 2, "0 and 1 alone")):
        assert wanted in message(small().fit, [pictures()], mask=bad, **TRAIN)
    small_ones = masks.draw("center", range(2), 16)
    assert "16×16" in message(small().fit, [pictures()], mask=small_ones, **TRAIN)


def test_what_learned_under_masks_of_its_own_can_be_copied_and_learn_on():
    batches = [(pictures(), HOLES)]
    for given, masks_ in (([pictures()], HOLES), (batches, None)):
        model = small().fit(given, mask=masks_, **TRAIN)
        copy = pickle.loads(pickle.dumps(deepcopy(model)))
        assert copy.training_run == model.training_run
        assert json.loads(json.dumps(model.training_run)) == model.training_run
        model.fit(given, mask=masks_, **TRAIN)


def test_metrics_are_chosen_by_any_iterable_and_by_names_that_there_are():
    real = pictures()
    found = metrics.score(real.flip(0), real, HOLES, keys=iter(["seam", "hole_psnr"]))
    assert list(found) == ["hole_psnr", "seam"]
    text = message(metrics.score, real.flip(0), real, HOLES, keys=["hole_psrn"])
    assert text.startswith("there is no metric 'hole_psrn'. Did you mean 'hole_psnr'?")


def test_one_mask_serves_all_pictures_in_the_metrics():
    real = pictures()
    filled, hole = real.flip(0), HOLES[:1]
    one, all_ = (metrics.score(filled, real, mask) for mask in (hole, hole.expand(4, -1, -1, -1)))
    assert one.keys() == all_.keys()
    for key in one:
        assert torch.equal(one[key], all_[key]), key
    assert torch.equal(metrics.METRICS["hole_psnr"].function(filled, real, hole), one["hole_psnr"])
