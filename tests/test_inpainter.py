from dataclasses import dataclass

import pytest
import torch
from common import message
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import gapfill
from gapfill import masks, testing
from gapfill.errors import GapfillError
from gapfill.inpainter import Inpainter, evaluating
from gapfill.masks.given import check_mask

TRAIN = {"steps": 2, "precision": "fp32", "device": "cpu", "quiet": True, "log_every": 1}


class Noise(Inpainter):
    """Fills with noise, as a stochastic model may, out of range and all."""

    name = "noise"
    multiple = 1
    stochastic = True

    @dataclass(frozen=True)
    class Config:
        """Settings."""

    def __init__(self, config=None):
        super().__init__(config or self.Config())
        self.part = nn.Sequential(nn.Dropout(0.5))
        self.seen = []

    def fill(self, known, mask):
        self.seen.append((known, mask, self.training, self.part[0].training))
        return torch.randn_like(known) * 3


def pictures(count=4, height=32, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def hole(count=1, height=32, width=32):
    mask = torch.zeros(count, 1, height, width)
    mask[..., 8:24, 10:20] = 1
    return mask


@pytest.fixture
def cnn():
    model = gapfill.create("cnn", size=32, width=4)
    model.trained = True
    return model


@pytest.mark.parametrize("name", ["cnn", "gan", "dcgan"])
def test_a_model_that_has_not_been_trained_says_so(name, tmp_path):
    model = gapfill.create(name, size=32, width=4)
    wanted = f"'{name}' has not been trained. Call .fit(loader), or load weights."
    assert message(model.inpaint, pictures(), hole()) == wanted
    assert message(model.save, tmp_path / "model") == wanted
    assert not (tmp_path / "model").exists()


def test_a_model_that_learns_nothing_needs_no_training(tmp_path):
    model = gapfill.create("telea")
    model.inpaint(pictures(), hole())
    model.save(tmp_path)
    assert gapfill.load(tmp_path).config == model.config


def test_pictures_in_another_range_are_refused(cnn):
    images = torch.zeros(1, 3, 32, 32)
    images[..., 0], images[..., 1] = -1, 1
    assert message(cnn.inpaint, images, hole()).startswith(
        "images must be uint8 or float in [0, 1]; got float32 with values −1.0 to 1.0. "
    )


def test_pictures_of_a_wrong_size_are_refused(cnn):
    assert message(cnn.inpaint, pictures(height=42), hole(height=42)) == (
        "'cnn' takes sides that are multiples of 4; got 32×42."
    )
    gan = gapfill.create("gan", size=32, width=4)
    gan.trained = True
    assert message(gan.inpaint, pictures(1, 64, 64), hole(1, 64, 64)) == (
        "this 'gan' was made for 32×32 pictures; got 64×64. Create it with size=64, or resize them."
    )


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (None, "mask must be a tensor [N, 1, H, W]; got NoneType."),
        (hole().numpy(), "mask must be a tensor [N, 1, H, W]; got ndarray."),
        (hole()[0], "mask must be [4, 1, H, W] or [1, 1, H, W]; got [1, 32, 32]."),
        (hole(3), "mask must be [4, 1, H, W] or [1, 1, H, W]; got [3, 1, 32, 32]."),
        (
            hole().repeat(4, 3, 1, 1),
            "mask must be [4, 1, H, W] or [1, 1, H, W]; got [4, 3, 32, 32].",
        ),
        (hole(1, 48, 32), "mask is 32×48 but the picture is 32×32. They must match."),
        (hole() * 255, "mask must hold 0 and 1 alone (1 = missing); got values 0 to 255."),
        (hole() - 1, "mask must hold 0 and 1 alone (1 = missing); got values -1 to 0."),
        (hole() / 2, "mask must hold 0 and 1 alone (1 = missing); got values 0 to 0.5."),
        (hole() * 0, "the mask is empty: nothing to fill."),
        (torch.cat([hole(3), hole() * 0]), "the mask is empty: nothing to fill."),
    ],
)
def test_a_bad_mask_says_what_is_wrong_with_it(cnn, mask, text):
    assert message(cnn.inpaint, pictures(), mask) == text


def test_a_mask_with_a_number_that_is_none_is_refused(cnn):
    mask = hole()
    mask[0, 0, 0, 0] = float("nan")
    assert message(cnn.inpaint, pictures(), mask).startswith("mask must hold 0 and 1 alone")


@pytest.mark.parametrize(("rows", "share"), [(96, 96), (100, 100)])
def test_a_mask_the_wrong_way_round_is_refused_with_the_cure(rows, share):
    mask = torch.zeros(1, 1, 100, 100)
    mask[:, :, :rows] = 1
    text = message(gapfill.create("telea").inpaint, pictures(1, 100, 100), mask)
    assert text.startswith(
        f"the mask marks {share} % of the picture as missing. 1/white means missing; "
        "if yours is the other way round, "
    )


def test_a_hole_of_95_percent_is_still_filled():
    mask = torch.zeros(1, 1, 100, 100)
    mask[:, :, :95] = 1
    gapfill.create("telea").inpaint(pictures(1, 100, 100), mask)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64]
)
def test_a_mask_may_have_any_dtype(cnn, dtype):
    wanted = cnn.inpaint(pictures(), hole())
    assert torch.equal(cnn.inpaint(pictures(), hole().to(dtype)), wanted)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_the_filled_pictures_have_the_dtype_and_range_that_came(dtype):
    images = pictures() if dtype == torch.uint8 else (pictures() / 255).to(dtype)
    filled = Noise().inpaint(images, hole())
    known = (hole() == 0).expand_as(images)
    assert filled.dtype == dtype
    assert filled.shape == images.shape
    assert torch.equal(filled[known], images[known])
    assert filled.min() == 0, "the noise does not reach the end of the range"
    assert filled.max() == (255 if dtype == torch.uint8 else 1)


def test_fills_are_rounded_to_the_nearest_level():
    class Nearly(Noise):
        def fill(self, known, mask):
            return torch.full_like(known, 100.6 / 127.5 - 1)

    filled = Nearly().inpaint(pictures(), hole())
    assert (filled[hole().bool().expand_as(filled)] == 101).all()


def test_one_mask_serves_all_pictures(cnn):
    assert torch.equal(cnn.inpaint(pictures(), hole()), cnn.inpaint(pictures(), hole(4)))


def test_what_is_hidden_never_reaches_the_model():
    model = Noise()
    one = pictures()
    other = torch.where(hole().bool(), 255 - one, one)
    model.inpaint(one, hole())
    model.inpaint(other, hole())
    known, mask, *_ = model.seen[0]
    assert torch.equal(known, model.seen[1][0])
    assert torch.equal(mask, hole(4))
    assert (known[mask.bool().expand_as(known)] == 0).all()
    assert known.abs().max() <= 1


def test_filling_leaves_pictures_and_masks_as_they_were(cnn):
    images, mask = pictures(), hole()
    cnn.inpaint(images, mask)
    assert torch.equal(images, pictures())
    assert torch.equal(mask, hole())


@pytest.mark.parametrize("training", [True, False])
def test_a_model_fills_in_eval_mode_and_is_put_back_as_it_was(training):
    model = Noise().train(training)
    model.inpaint(pictures(), hole())
    assert model.seen[0][2:] == (False, False)
    assert model.training is model.part.training is model.part[0].training is training


def test_a_model_is_put_back_as_it_was_after_an_error_too():
    model = Noise()
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert model.training


def test_filling_changes_no_statistics_of_a_model_in_training(cnn):
    cnn.train()
    before = {name: tensor.clone() for name, tensor in cnn.state_dict().items()}
    cnn.inpaint(pictures(), hole())
    assert all(torch.equal(before[name], tensor) for name, tensor in cnn.state_dict().items())


def test_the_seed_names_the_noise_and_torchs_own_is_left_alone():
    model, before = Noise(), torch.get_rng_state()
    one, again, other = (model.inpaint(pictures(), hole(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_filling_builds_no_graph(cnn):
    assert not cnn.inpaint(pictures() / 255, hole()).requires_grad


def test_a_checked_mask_is_bool_and_stands_for_every_picture():
    mask = check_mask(hole(), pictures())
    assert mask.dtype == torch.bool
    assert mask.shape == (4, 1, 32, 32)


def test_fit_returns_the_model_trained_with_its_history():
    model = gapfill.create("cnn", size=32, width=4)
    before = model.generator[0][0].weight.detach().clone()
    assert model.fit([pictures(4)], **TRAIN) is model
    assert not torch.equal(before, model.generator[0][0].weight)
    assert [line["step"] for line in model.history] == [1, 2]
    assert all(line["network/loss"] > 0 for line in model.history)
    assert {"network/l1", "network/l2", "network/ring", "lr"} <= model.history[0].keys()
    assert not model.training
    cost = model.training_cost
    assert cost is not None
    assert (cost["steps"], cost["images"], cost["batch_size"]) == (2, 8, 4)
    assert cost["precision"] == "fp32"
    model.inpaint(pictures(), hole())


def test_fit_reads_a_data_loader_of_images_and_labels_and_counts_its_epochs():
    data = TensorDataset(pictures(10) / 255, torch.arange(10))
    model = gapfill.create("dcgan", size=32, width=4, critic_width=4)
    model.fit(DataLoader(data, batch_size=4), **(TRAIN | {"steps": None, "epochs": 1}))
    assert model.training_cost is not None
    assert model.training_cost["steps"] == 3  # three batches, the short one replaced
    assert {"critic/loss", "generator/loss"} <= model.history[-1].keys()


def test_fit_scores_validation_pictures():
    model = gapfill.create("cnn", size=32, width=4)
    model.fit([pictures(4)], val=pictures(3, seed=1), watch=2, **TRAIN)
    scores = [line for line in model.history if "val/score" in line]
    assert [line["step"] for line in scores] == [1, 2]
    assert scores[0]["val/score"] == scores[0]["val/hole_psnr"]


def test_fit_takes_a_stream():
    model = gapfill.create("gan", size=32, width=4)
    model.fit(gapfill.Stream(pictures(8), batch_size=4), **TRAIN, mask="rect+brush")
    assert model.training_cost is not None
    assert model.training_cost["images"] == 8


def test_the_same_seed_trains_the_same_model():
    def weights(seed):
        torch.manual_seed(0)
        model = gapfill.create("cnn", size=32, width=4)
        torch.manual_seed(seed)
        model.fit(gapfill.Stream(pictures(8), 4), **TRAIN, seed=3)
        return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])

    assert torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"step": 5}, "fit: unknown setting 'step'. Did you mean 'steps'? Known: "),
        ({"steps": 0}, "fit: steps must be 1 to 1,000,000,000; got 0 (int)."),
        ({"steps": 5, "epochs": 1}, "give one of steps, epochs and budget, not steps and epochs."),
        ({"budget": "soon"}, "budget must be a time such as 90s, 10m or 1h; got 'soon'."),
        (
            {"device": "gpu"},
            "unknown device 'gpu'. Known: auto, cpu, cuda, cuda:<index>, mps (untested).",
        ),
        ({"precision": "fp8"}, "fit: precision: 'fp8' (str)? "),
        ({"mask": "centre"}, "mask kind 'centre'"),
    ],
)
def test_fit_refuses_what_makes_no_sense(settings, text):
    model = gapfill.create("cnn", size=32, width=4)
    assert text in message(model.fit, [pictures()], quiet=True, **settings)
    assert not model.trained


def test_fit_refuses_what_is_no_loader():
    model = gapfill.create("cnn", size=32, width=4)
    wanted = "fit takes an iterable of image batches, not int."
    assert message(model.fit, 5, **TRAIN) == wanted
    assert message(model.fit, [], **TRAIN) == "the loader gave no image batches."
    assert "got [3, 32, 32]" in message(model.fit, list(pictures()), **TRAIN)
    assert "give gapfill.Stream(images)" in message(model.fit, pictures(), **TRAIN)


def test_an_iterator_that_is_too_short_says_so():
    model = gapfill.create("cnn", size=32, width=4)
    text = message(model.fit, iter([pictures()]), **TRAIN)
    assert text.startswith("the loader ran out after 1 batches")


def test_a_loader_without_a_length_needs_a_number_of_steps():
    model = gapfill.create("cnn", size=32, width=4)
    text = message(model.fit, iter([pictures()]), quiet=True, device="cpu", error=GapfillError)
    assert text == "this loader has no length: say how long with steps= or budget=."


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_fit_refuses_pictures_of_another_size_than_the_networks(name):
    model = gapfill.create(name, size=64, width=4)
    assert "32×32" in message(model.fit, [pictures()], **TRAIN)


@pytest.mark.parametrize("name", ["cnn", "gan", "mean"])
def test_fit_refuses_pictures_that_are_not_square(name):
    settings = {} if name == "mean" else {"width": 4}
    model = gapfill.create(name, size=32, **settings)
    assert "48×32" in message(model.fit, [pictures(4, 32, 48)], **TRAIN)


def test_fit_refuses_sides_that_the_networks_cannot_halve():
    model = gapfill.create("cnn", size=32, width=4)
    assert "40×40" in message(model.fit, [pictures(4, 40, 40)], **TRAIN)


def test_validation_pictures_of_another_size_are_refused_at_once():
    model = gapfill.create("gan", size=32, width=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    text = message(model.fit, [pictures()], val=pictures(2, 64, 64), **TRAIN)
    assert "64×64" in text
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "it was trained before"


def test_a_model_that_learns_nothing_is_fitted_at_once():
    model = gapfill.create("telea")
    assert model.fit(None) is model


def test_the_mean_picture_is_the_mean_of_all_pictures_short_batches_too():
    images = pictures(10)
    wanted = images.double().mean(0).round()
    for loader in (
        [images[:4], images[4:8], images[8:]],
        [(batch / 255, None) for batch in images.split(4)],
        DataLoader(TensorDataset(images), batch_size=4),
        gapfill.Stream(images, 4),
    ):
        model = gapfill.create("mean", size=32).fit(loader, steps=1)
        filled = model.inpaint(pictures(1, seed=5), hole())[0]
        marked = hole()[0].bool().expand(3, -1, -1)
        assert (filled.double() - wanted)[marked].abs().max() <= 1


def test_the_mean_of_nothing_is_refused():
    model = gapfill.create("mean", size=32)
    assert message(model.fit, []) == "the loader gave no image batches."
    assert "has not been trained" in message(model.inpaint, pictures(), hole())


def test_a_saved_model_remembers_what_its_training_cost(tmp_path):
    model = gapfill.create("cnn", size=32, width=4).fit([pictures()], **TRAIN)
    digest = model.save(tmp_path)
    again = gapfill.load(tmp_path)
    assert again.training_cost == model.training_cost
    assert again.save(tmp_path) == digest
    assert torch.equal(again.inpaint(pictures(), hole()), model.inpaint(pictures(), hole()))


def test_weights_that_are_loaded_make_a_model_trained(cnn):
    other = gapfill.create("cnn", size=32, width=4)
    other.load_state_dict(cnn.state_dict())
    assert torch.equal(other.inpaint(pictures(), hole()), cnn.inpaint(pictures(), hole()))


def test_weights_that_are_loaded_take_what_was_known_of_the_old_ones_away(cnn, tmp_path):
    model = gapfill.create("cnn", size=32, width=4)
    model.fit([pictures()], data="drawn, free for all", **TRAIN)
    assert model.training_pictures is not None
    model.load_state_dict(cnn.state_dict())
    assert model.training_pictures is model.training_run is model.training_cost is None
    assert model.training_data == ""


def test_a_part_of_the_weights_does_not_make_a_model_trained(cnn):
    other = gapfill.create("cnn", size=32, width=4)
    state = cnn.state_dict()
    state.pop(next(iter(state)))
    other.load_state_dict(state, strict=False)
    assert message(other.inpaint, pictures(), hole()).startswith("'cnn' has not been trained.")


def test_a_run_that_fails_leaves_a_model_as_untrained_as_it_was():
    model = gapfill.create("cnn", size=32, width=4)
    with pytest.raises(GapfillError):
        model.fit([pictures()] * 2, lr=1)
    with pytest.raises(ZeroDivisionError):
        model.fit(Breaking(), budget="1s", precision="fp32", device="cpu", quiet=True)
    assert not model.trained


class Breaking:
    """A loader that fails after some batches."""

    def __iter__(self):
        yield from [pictures()] * 8
        raise ZeroDivisionError


def test_called_as_a_module_it_fills_and_lets_gradients_through(cnn):
    image = (pictures().float() / 255).requires_grad_()
    filled = cnn.eval()(image, hole())
    assert torch.equal(filled, cnn.inpaint(image.detach(), hole()))
    filled.square().sum().backward()
    known = (hole() == 0).expand_as(image)
    assert image.grad is not None
    assert (image.grad[known] != 0).any()
    assert (image.grad[~known] == 0).all(), "what is hidden was looked at"
    assert all(weight.grad is not None for weight in cnn.parameters())


@pytest.mark.parametrize("kind", ["half", "bfloat16", "double"])
@pytest.mark.parametrize("name", ["cnn", "flow", "lama", "gan", "semantic"])
def test_weights_of_another_precision_fill_nearly_alike(name, kind):
    settings = {"iterations": 3} if name == "semantic" else {}
    torch.manual_seed(0)
    model = testing.trained(gapfill.create(name, size=32, width=4, **settings))
    wanted = model.inpaint(pictures(), hole()).float()
    filled = getattr(model, kind)().inpaint(pictures(), hole())
    assert filled.dtype == torch.uint8
    assert (filled.float() - wanted).abs().mean() < 1
    text = message(model.fit, [pictures()] * 2, **TRAIN)
    assert text.endswith("training needs float32. Call .float() first.")


def test_grey_pictures_are_learnt_and_filled_as_grey():
    digits = (255 * torch.rand(8, 1, 28, 28)).round().to(torch.uint8)
    model = gapfill.create("cnn", size=28, width=4)
    model.fit(gapfill.Stream(digits, batch_size=4), steps=1, quiet=True, device="cpu")
    hidden = masks.draw("center", 0, 28)
    filled = model.inpaint(digits, hidden)
    assert (filled.shape, filled.dtype) == (digits.shape, torch.uint8)
    known = ~hidden.bool().expand_as(digits)
    assert torch.equal(filled[known], digits[known])
    colours = model.inpaint(digits.expand(-1, 3, -1, -1), hidden).float()
    luma = 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]
    assert (filled[:, 0].float() - luma).abs().max() <= 0.501  # one rounding
    floats = model.inpaint(digits / 255, hidden)
    assert floats.shape == digits.shape
    assert torch.equal(floats[known], (digits / 255)[known])
    assert "images must be [N, 3, H, W]" in message(model.inpaint, digits[:, 0], hidden)
