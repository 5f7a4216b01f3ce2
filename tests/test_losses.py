import numpy as np
import pytest
import torch

from gapfill import losses
from gapfill.types import REPORTED


@pytest.fixture
def pair():
    """Filled, true and weight: holes of different sizes, in units of [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    filled = torch.rand(4, 3, 9, 7, generator=generator) * 2 - 1
    image = torch.rand(4, 3, 9, 7, generator=generator) * 2 - 1
    weight = torch.zeros(4, 1, 9, 7)
    for number in range(4):
        weight[number, :, 1 : 3 + number, 2 : 4 + number] = 1
    return filled, image, weight


def in_numpy(*tensors):
    return [tensor.double().numpy() for tensor in tensors]


def mean_over_pictures(error, weight):
    """The definition, one picture after the other."""
    found = []
    for one, counts in zip(error, weight, strict=True):
        marked = np.broadcast_to(counts > 0, one.shape)
        found.append(one[marked].mean())
    return np.mean(found)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_l1_and_l2_are_means_over_the_hole(pair):
    filled, image, weight = in_numpy(*pair)
    error = np.abs(filled - image)
    assert losses.l1(*pair).item() == pytest.approx(mean_over_pictures(error, weight), rel=1e-5)
    squared = mean_over_pictures(error**2, weight)
    assert losses.l2(*pair).item() == pytest.approx(squared, rel=1e-5)


def test_a_picture_weighs_the_same_whatever_the_size_of_its_hole():
    error = torch.zeros(2, 3, 8, 8)
    error[0] = 1.0
    weight = torch.zeros(2, 1, 8, 8)
    weight[0, :, 0, 0] = 1  # one pixel of error 1
    weight[1] = 1  # 64 pixels of error 0
    assert losses.masked_mean(error, weight).item() == pytest.approx(0.5)


def test_a_batch_may_be_divided_without_changing_the_mean(pair):
    whole = losses.l1(*pair)
    parts = [losses.l1(*(tensor[half] for tensor in pair)) for half in (slice(2), slice(2, 4))]
    assert whole.item() == pytest.approx((parts[0] + parts[1]).item() / 2, rel=1e-6)


def test_weights_between_zero_and_one_weigh():
    error = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    weight = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2)
    assert losses.masked_mean(error, weight).item() == pytest.approx(2.5)


def test_a_picture_without_a_hole_counts_as_zero_and_is_no_nan():
    found = losses.masked_mean(torch.ones(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))
    assert found.item() == 0


@pytest.mark.parametrize("loss", [losses.l1, losses.l2, losses.gradient])
def test_what_is_outside_the_weight_changes_nothing(pair, loss):
    filled, image, weight = pair
    other = torch.where(weight.bool(), filled, -filled)
    assert torch.equal(loss(filled, image, weight), loss(other, image, weight))


@pytest.mark.parametrize("loss", [losses.l1, losses.l2, losses.gradient])
def test_the_truth_costs_nothing(pair, loss):
    _, image, weight = pair
    assert loss(image, image, weight).item() == 0


def test_the_gradient_loss_compares_neighbours_that_both_count(pair):
    filled, image, weight = in_numpy(*pair)
    error = filled - image
    along_x = np.abs(np.diff(error, axis=3))
    along_y = np.abs(np.diff(error, axis=2))
    both_x = np.minimum(weight[..., 1:], weight[..., :-1])
    both_y = np.minimum(weight[:, :, 1:], weight[:, :, :-1])
    wanted = mean_over_pictures(along_x, both_x) + mean_over_pictures(along_y, both_y)
    assert losses.gradient(*pair).item() == pytest.approx(wanted, rel=1e-5)


def test_the_gradient_loss_ignores_a_constant_shift(pair):
    _, image, weight = pair
    assert losses.gradient(image + 0.25, image, weight).item() == pytest.approx(0, abs=1e-6)
    assert losses.l1(image + 0.25, image, weight).item() == pytest.approx(0.25, rel=1e-5)


def test_adversarial_terms_are_cross_entropies():
    logits = torch.linspace(-6, 6, 13)
    chance = sigmoid(logits.double().numpy())
    assert losses.real(logits).item() == pytest.approx(-np.log(chance).mean(), rel=1e-5)
    assert losses.fake(logits).item() == pytest.approx(-np.log(1 - chance).mean(), rel=1e-5)
    assert losses.saturating(logits).item() == pytest.approx(np.log(1 - chance).mean(), rel=1e-5)
    smoothed = -(0.9 * np.log(chance) + 0.1 * np.log(1 - chance)).mean()
    assert losses.real(logits, 0.9).item() == pytest.approx(smoothed, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.saturating, losses.real])
def test_both_generator_losses_push_the_logit_up(loss):
    logit = torch.zeros(1, requires_grad=True)
    loss(logit).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(-0.5)


def test_the_saturating_gradient_dies_where_the_critic_is_sure_and_the_other_does_not():
    size = {}
    for loss in (losses.saturating, losses.real):
        logit = torch.full((1,), -10.0, requires_grad=True)
        loss(logit).backward()
        assert logit.grad is not None
        size[loss] = abs(logit.grad.item())
    assert size[losses.saturating] == pytest.approx(sigmoid(-10.0), rel=1e-3)
    assert size[losses.real] == pytest.approx(1, rel=1e-3)


def test_sure_logits_in_half_precision_stay_finite():
    logits = torch.tensor([-80.0, 80.0], dtype=torch.bfloat16)
    for loss in (losses.real, losses.fake, losses.saturating):
        found = loss(logits)
        assert found.dtype == torch.float32
        assert abs(found.item()) == pytest.approx(40)


def test_losses_are_float32_for_half_precision_pictures(pair):
    filled, image, weight = pair
    for loss in (losses.l1, losses.l2, losses.gradient):
        found = loss(filled.bfloat16(), image, weight.bfloat16())
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(loss(filled, image, weight).item(), rel=1e-2)


def test_discrimination_is_half_the_cross_entropy_each_and_reports_its_accuracy():
    on_real = torch.tensor([2.0, -1.0, 3.0, 0.5], requires_grad=True)
    on_fake = torch.tensor([-2.0, -1.0, 3.0, 0.0], requires_grad=True)
    terms = losses.discrimination(on_real, on_fake)
    right = sigmoid(on_real.detach().double().numpy())
    wrong = sigmoid(on_fake.detach().double().numpy())
    assert terms["real"].item() == pytest.approx(-np.log(right).mean() / 2, rel=1e-5)
    assert terms["fake"].item() == pytest.approx(-np.log(1 - wrong).mean() / 2, rel=1e-5)
    accuracy = terms[REPORTED + "accuracy"]
    assert accuracy.item() == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert not accuracy.requires_grad
    assert set(terms) == {"real", "fake", REPORTED + "accuracy"}


OBJECTIVES = {
    "non-saturating": losses.NON_SATURATING,
    "saturating": losses.SATURATING,
    "least squares": losses.LEAST_SQUARES,
    "wasserstein": losses.WASSERSTEIN,
    "hinge": losses.HINGE,
}


def total(terms):
    return sum(term for name, term in terms.items() if not name.startswith(REPORTED))


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_critic_wants_real_up_and_made_down_and_every_generator_made_up(objective):
    on_real = torch.full((3,), 0.4, requires_grad=True)
    on_fake = torch.full((3,), 0.4, requires_grad=True)
    total(objective.critic(on_real, on_fake)).backward()
    assert (on_real.grad < 0).all()
    assert (on_fake.grad > 0).all()
    on_fake.grad = None
    objective.generator(on_fake).backward()
    assert (on_fake.grad < 0).all()


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_a_critic_is_right_about_all_or_none(objective):
    high, low = torch.full((3,), 2.0), torch.full((3,), -1.0)
    assert objective.critic(high, low)[REPORTED + "accuracy"].item() == 1
    assert objective.critic(low, high)[REPORTED + "accuracy"].item() == 0


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_objectives_are_float32_for_half_precision_logits(objective):
    logits = torch.tensor([-2.0, 0.25], dtype=torch.bfloat16)
    terms = objective.critic(logits, -logits) | {"generator": objective.generator(logits)}
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_least_squares_labels_are_one_for_real_and_zero_for_made():
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert total(losses.squares_apart(ones, zeros)).item() == 0
    assert total(losses.squares_apart(zeros, ones)).item() == 1
    assert losses.LEAST_SQUARES.generator(ones).item() == 0
    assert losses.LEAST_SQUARES.generator(zeros).item() == 0.5


def test_the_wasserstein_terms_are_the_difference_of_the_mean_scores():
    terms = losses.scores_apart(torch.tensor([3.0, 5.0]), torch.tensor([1.0, -2.0]))
    assert total(terms).item() == pytest.approx(-0.5 - 4)


def test_beyond_its_margin_the_hinge_has_nothing_to_say():
    assert total(losses.margins_apart(torch.tensor([1.5]), torch.tensor([-1.0]))).item() == 0
    assert total(losses.margins_apart(torch.tensor([0.5]), torch.tensor([0.0]))).item() == 1.5


def linear(steepness):
    """A critic whose slope has the same size everywhere."""
    direction = torch.full((3, 4, 4), steepness / 48**0.5)
    return lambda pictures: (pictures * direction).sum((1, 2, 3))


@pytest.mark.parametrize("steepness", [0.0, 0.5, 1.0, 3.0])
def test_the_penalty_is_the_squared_distance_of_the_slope_from_one(steepness):
    pair = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    found = losses.gradient_penalty(linear(steepness), *pair)
    assert found.item() == pytest.approx((steepness - 1) ** 2, abs=1e-4)


def test_the_penalty_looks_between_each_pair_of_pictures():
    on, to, seen = torch.zeros(64, 3, 4, 4), torch.ones(64, 3, 4, 4), []
    losses.gradient_penalty(lambda x: seen.append(x.detach()) or x.sum((1, 2, 3)), on, to)
    share = seen[0][:, 0, 0, 0]
    assert torch.equal(seen[0], share.view(-1, 1, 1, 1).expand_as(on))
    assert share.min() < 0.2
    assert share.max() > 0.8


def test_the_penalty_reaches_the_critics_weights_and_stays_float32_under_autocast():
    critic = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.LeakyReLU(0.2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 1),
    )
    inner = []
    critic[0].register_forward_hook(lambda *call: inner.append(call[2].dtype))
    pair = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses.gradient_penalty(critic, *pair)
    assert inner == [torch.float32]
    assert found.dtype == torch.float32
    found.backward()
    assert critic[0].weight.grad is not None
    assert critic[0].weight.grad.abs().sum() > 0


def test_a_critic_with_no_slope_at_all_has_a_gradient_that_is_a_number():
    weight = torch.zeros(1, requires_grad=True)
    pair = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    losses.gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), *pair).backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
