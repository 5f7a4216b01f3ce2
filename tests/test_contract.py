"""The contract, over every registered name."""

import inspect

import pytest
import torch

import gapfill
from gapfill import testing
from gapfill.registry import model_class
from gapfill.types import Update

LEARNED = ("cnn", "dcgan", "gan", "unet")
SMALL = {"size": 32, "width": 4, "critic_width": 4, "iterations": 4}


def small(name, **changes):
    """The model at its smallest, whatever settings of size and effort it has."""
    fields, settings = model_class(name).Config.__dataclass_fields__, SMALL | changes
    return gapfill.create(name, **{key: settings[key] for key in settings if key in fields})


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", gapfill.list_models())
def test_the_contract_holds(name, check, tmp_path):
    reason = testing.run(check, small(name), tmp_path)
    if reason:
        pytest.skip(f"{name} is exempt: {reason}")


# What compiles at 32 pixels compiles at 28: the slowest check is made once.
COMPILED = "compiled_losses_have_the_same_gradients"
AT_28 = [check for check in testing.CHECKS if check.__name__ != COMPILED]


@pytest.mark.parametrize("check", AT_28, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", LEARNED)
def test_the_contract_holds_for_digits_of_28_pixels(name, check, tmp_path):
    reason = testing.run(check, small(name, size=28), tmp_path)
    if reason:
        pytest.skip(f"{name} is exempt: {reason}")


@pytest.mark.parametrize("name", gapfill.list_models())
def test_exemptions_name_real_checks_and_give_reasons(name):
    known = {check.__name__ for check in testing.CHECKS}
    for check, reason in model_class(name).exemptions.items():
        assert check in known
        assert len(reason) > 20


@pytest.mark.parametrize("name", gapfill.list_models())
def test_every_model_says_what_it_is_in_one_line(name):
    cls = model_class(name)
    first = inspect.getdoc(cls).splitlines()[0]
    assert 20 < len(first) <= 100
    # A field is described where it is declared.
    described = "".join(part.__doc__ or "" for part in cls.Config.__mro__)
    assert all(f"{field}:" in described for field in cls.Config.__dataclass_fields__)


class Peeping(model_class("mean")):
    """Breaks the contract on purpose, so that the checks are seen to fail."""

    def inpaint(self, image, mask, seed=0, first=0):
        del seed, first
        return image.flip(-1) + 0 * mask.to(image.dtype)


@pytest.mark.parametrize(
    "check",
    [
        testing.known_pixels_are_untouched,
        testing.never_peeks_under_the_mask,
        testing.bad_masks_are_refused,
    ],
)
def test_a_model_that_breaks_the_contract_is_caught(check, tmp_path):
    with pytest.raises((AssertionError, RuntimeError)):
        check(Peeping(Peeping.Config(size=32)), tmp_path)


class Forgetful(model_class("dcgan")):
    """Never trains its critic."""

    def updates(self):
        return super().updates()[1:]


def test_a_weight_that_no_update_reaches_is_named(tmp_path):
    model = Forgetful(Forgetful.Config(size=32, width=4, critic_width=4))
    with pytest.raises(AssertionError, match=r"no update reaches critic\."):
        testing.every_weight_is_reached(model, tmp_path)


class Cheating(model_class("cnn")):
    """Has another loss once it is compiled."""

    def loss(self, batch):
        factor = 1.1 if torch.compiler.is_compiling() else 1
        return {name: factor * term for name, term in super().loss(batch).items()}


def test_a_loss_that_compiles_to_another_is_caught_and_its_weight_named(tmp_path):
    model = Cheating(Cheating.Config(size=32, width=4))
    with pytest.raises(AssertionError, match=r"^the gradient of generator\.\S+ in 'network'"):
        testing.compiled_losses_have_the_same_gradients(model, tmp_path)


def test_a_loss_that_cannot_be_compiled_is_one_sentence(tmp_path, monkeypatch):
    def fail(batch):
        raise RuntimeError("\none thing\nand another")

    monkeypatch.setattr(torch, "compile", lambda loss, backend: fail)
    model = gapfill.create("cnn", size=32, width=4)
    wanted = r"^'network' cannot be compiled: RuntimeError: one thing$"
    with pytest.raises(AssertionError, match=wanted):
        testing.compiled_losses_have_the_same_gradients(model, tmp_path)


def test_a_compilation_is_not_told_of_in_the_log(tmp_path, caplog):
    testing.compiled_losses_have_the_same_gradients(small("cnn"), tmp_path)
    assert not caplog.records


def test_a_gradient_that_is_zero_but_for_rounding_is_no_difference():
    # What a bias has before a normalisation, beside weights whose gradients are numbers.
    layer = torch.nn.Linear(2, 2)
    update = Update("network", torch.optim.SGD(layer.parameters(), 0.1), dict)
    eager = torch.tensor([[0.5, -0.25], [0.125, 1.0]]), torch.tensor([1e-9, -2e-9])
    again = eager[0] + 1e-7, torch.tensor([-3e-9, 1e-9])
    testing._compare(layer, update, eager, again)
    with pytest.raises(AssertionError, match=r"^the gradient of bias in .* differs by 0\.01 "):
        testing._compare(layer, update, eager, (again[0], again[1] + 0.01))
    with pytest.raises(AssertionError, match=r"^'network' reaches bias only when it is not compi"):
        testing._compare(layer, update, eager, (again[0], None))
