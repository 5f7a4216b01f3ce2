"""Noise of a picture's own, and torch's random state, which is the whole process's."""

import threading

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import gapfill
from gapfill import masks, randomness, testing
from gapfill.errors import UsageError

STOCHASTIC = {"size": 32, "width": 4, "critic_width": 4, "iterations": 3}


def made(name, **settings):
    fields = gapfill.registry.model_class(name).Config.__dataclass_fields__
    torch.manual_seed(0)
    return gapfill.create(name, **{k: STOCHASTIC[k] for k in STOCHASTIC if k in fields}, **settings)


def weights(model):
    return torch.cat([tensor.flatten().float() for tensor in model.state_dict().values()])


def test_normal_numbers_are_normal_and_finite():
    names = randomness.keys(3, torch.arange(40))
    with randomness.filling(names):
        drawn = randomness.randn(40, 3, 32, 32)
        again = randomness.randn(40, 3, 32, 32)
    assert drawn.isfinite().all()
    assert drawn.mean().abs() < 0.01
    assert (drawn.std() - 1).abs() < 0.01
    assert (drawn.square().square().mean() - 3).abs() < 0.1, "the tails are another's"
    apart = torch.corrcoef(torch.stack([drawn.flatten(), again.flatten()]))[0, 1]
    assert apart.abs() < 0.02, "the second draw repeats the first"
    between = torch.corrcoef(drawn.flatten(1))
    assert (between - torch.eye(40)).abs().max() < 0.1, "pictures share their noise"


def test_the_ends_of_the_uniform_numbers_give_finite_normal_ones(monkeypatch):
    ends = torch.tensor([[0.0, 1 - 2.0**-24, 0.5]])
    monkeypatch.setattr(randomness, "_drawn_aside", lambda count, shape: ends)
    low, high, middle = randomness.randn(1, 3)[0].tolist()
    assert -5.6 < low < -5 < 0 < middle < 1e-6 < 5 < high < 5.6


def test_a_pictures_noise_is_named_by_seed_and_number_alone():
    def draw(numbers, seed=0):
        with randomness.filling(randomness.keys(seed, torch.tensor(numbers))):
            return randomness.rand(len(numbers), 5)

    whole = draw([0, 1, 2, 3])
    assert torch.equal(draw([2])[0], whole[2])
    assert torch.equal(draw([3, 0]), whole[[3, 0]])
    assert not torch.equal(draw([0], seed=1), whole[:1])
    with randomness.filling(randomness.keys(0, torch.arange(2))), pytest.raises(UsageError):
        randomness.rand(3, 5)


@pytest.mark.parametrize("name", ["flow", "ddpm", "pmrf", "gfc", "semantic"])
def test_the_same_picture_twice_in_a_batch_has_two_fills(name):
    model = testing.trained(made(name), steps=20)
    image = testing.pictures(model, 1).float().expand(2, -1, -1, -1) / 255
    one, two = model.inpaint(image, testing.holes(model, 1))
    assert not torch.equal(one, two)


def test_any_number_of_pictures_is_filled_some_at_a_time(monkeypatch):
    model = testing.trained(made("flow"))
    image, mask = testing.pictures(model, 7).float() / 255, testing.holes(model, 7)
    whole = model.inpaint(image, mask, seed=2)
    sizes, fill = [], model.fill

    def counting(known, hidden):
        sizes.append(len(known))
        return fill(known, hidden)

    monkeypatch.setattr("gapfill.inpainter._PIXELS", 3 * 32 * 32)
    monkeypatch.setattr(model, "fill", counting)
    parts = model.inpaint(image, mask, seed=2)
    assert sizes == [3, 3, 1]
    assert (parts - whole).abs().max() < 1e-5
    sizes.clear()
    apart = gapfill.fill_all(model, image, mask, seed=2, batch_size=2)
    assert sizes == [2, 2, 2, 1]
    assert (apart - whole).abs().max() < 1e-5
    one = gapfill.fill_all(model, image, mask[:1], seed=2, batch_size=4)
    assert (one - model.inpaint(image, mask[:1], seed=2)).abs().max() < 1e-5


def test_more_pictures_than_masks_are_refused():
    model = gapfill.create("telea")
    image, mask = testing.pictures(model, 4), testing.holes(model, 3)
    with pytest.raises(UsageError, match="there are 3 masks for 4 pictures"):
        gapfill.fill_all(model, image, mask)
    with pytest.raises(UsageError, match="batch_size must be at least 1; got 0"):
        gapfill.fill_all(model, image, mask[:1], batch_size=0)


def test_a_filler_gives_each_picture_the_noise_of_its_number():
    model = testing.trained(made("flow"))
    image, mask = testing.pictures(model, 6).float() / 255, testing.holes(model, 6)
    wanted = model.inpaint(image, mask, seed=4)
    fast = gapfill.Filler(model, 32, batch_size=4, dtype=torch.float32, precision="fp32")
    parts = [fast(image[:4], mask[:4], seed=4), fast(image[4:], mask[4:], seed=4, first=4)]
    assert (torch.cat(parts) - wanted).abs().max() < 1e-5


def shuffled(model, count=16):
    return DataLoader(TensorDataset(testing.pictures(model, count)), 4, shuffle=True)


def run(model, loader, seed=0):
    return model.fit(
        loader, mask="rect", steps=6, seed=seed, precision="fp32", device="cpu", quiet=True
    )


def test_training_leaves_torchs_random_state_and_does_not_depend_on_it():
    ends = []
    for before in (1, 2):
        model = made("cnn")
        torch.manual_seed(before)
        state = torch.get_rng_state()
        ends.append(weights(run(model, shuffled(model))))
        assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(*ends)


def test_a_shuffling_loader_deals_anew_in_each_epoch():
    model, seen = made("cnn"), []

    class Noted(TensorDataset):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    run(model, DataLoader(Noted(testing.pictures(model, 8)), 4, shuffle=True))
    epochs = [seen[start : start + 8] for start in range(4, 28, 8)]
    assert epochs[0] != epochs[1]


def test_two_threads_that_train_at_once_do_not_disturb_each_other():
    names = ("cnn", "flow")
    alone = {name: weights(run(made(name), shuffled(made(name)), 3)) for name in names}
    torch.manual_seed(5)
    models = {name: made(name) for name in names}
    state, barrier, errors = torch.get_rng_state(), threading.Barrier(2), []

    def train(name):
        try:
            barrier.wait()
            run(models[name], shuffled(models[name]), 3)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert torch.equal(state, torch.get_rng_state())
    for name in names:
        assert torch.equal(weights(models[name]), alone[name]), f"{name} was disturbed"


def test_training_and_filling_in_threads_do_not_disturb_each_other():
    filler = testing.trained(made("flow"))
    image, mask = testing.pictures(filler), testing.holes(filler)
    wanted = filler.inpaint(image, mask, seed=1)
    alone = weights(run(made("cnn"), shuffled(made("cnn"))))
    model, fills = made("cnn"), []
    thread = threading.Thread(
        target=lambda: fills.extend(filler.inpaint(image, mask, seed=1) for _ in range(3))
    )
    thread.start()
    run(model, shuffled(model))
    thread.join()
    assert torch.equal(weights(model), alone)
    assert all(torch.equal(fill, wanted) for fill in fills)
    assert len(fills) == 3


def test_masks_are_drawn_as_before():
    assert masks.uniform(0, torch.tensor([7]), 3)[0].tolist() == pytest.approx(
        [0.5243, 0.3021, 0.941], abs=1e-4
    )
