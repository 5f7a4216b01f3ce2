"""The contract of an inpainter as checks that anyone can run on their own model.

With pytest::

    import pytest, gapfill.testing

    @pytest.mark.parametrize("check", gapfill.testing.CHECKS, ids=lambda check: check.__name__)
    def test_my_model(check, tmp_path):
        gapfill.testing.run(check, MyModel(MyModel.Config(size=32)), tmp_path)

Every check raises AssertionError with a sentence. A model that cannot pass one says so itself, with
the reason, in `exemptions`; `run` returns that reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gapfill import masks, registry
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import Stream
from gapfill.errors import UsageError
from gapfill.inpainter import Inpainter
from gapfill.randomness import seeded
from gapfill.types import REPORTED, Batch, Terms, Update

Check = Callable[[Inpainter, Path], None]

CHECKS: list[Check] = []
_TELLING = ("torch.__trace", "torch._dynamo", "torch._functorch")
"""Loggers that tell of a compilation in thousands of lines, all of which pytest would show."""
KINDS = ("center", "rect", "half", "pixels", "pattern", "brush")


def check(function: Check) -> Check:
    """Add the function below it to the contract."""
    CHECKS.append(function)
    return function


def run(one: Check, model: Inpainter, folder: Path) -> str | None:
    """Make one check of an untrained model, in an empty folder.

    Returns:
        None, or the model's own reason for not taking part.
    """
    reason = model.exemptions.get(one.__name__)
    if reason is None:
        one(model, folder)
    return reason


def pictures(model: Inpainter, count: int = 6, seed: int = 0) -> Tensor:
    """Small smooth pictures of the model's size, uint8 [N, 3, S, S]."""
    size = getattr(model.config, "size", 32)
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth.clamp(0, 1) * 255).round().byte()


def holes(model: Inpainter, count: int = 6, kind: str = "rect") -> Tensor:
    """Masks for `pictures`, [N, 1, S, S]."""
    return masks.draw(kind, torch.arange(count), getattr(model.config, "size", 32), seed=1)


def trained(model: Inpainter, folder: Path | None = None, **training: Any) -> Inpainter:
    """The model after three small steps, so that it may be asked to fill."""
    settings: dict[str, Any] = {"steps": 3, "precision": "fp32", "device": "cpu", "mask": "rect"}
    stream = Stream(pictures(model, 8), batch_size=4)
    return model.fit(stream, out=folder, quiet=True, **(settings | training))


@check
def known_pixels_are_untouched(model: Inpainter, folder: Path) -> None:
    """What the mask leaves comes back bit for bit, for uint8 and for float pictures."""
    trained(model)
    image, mask = pictures(model), holes(model)
    for given in (image, image.float() / 255, image.double() / 255):
        filled = model.inpaint(given, mask)
        assert filled.dtype == given.dtype, "another dtype came back"
        assert filled.shape == given.shape, "another shape came back"
        known = (mask == 0).expand_as(given)
        assert torch.equal(filled[known], given[known]), "a known pixel changed"
        assert filled.isfinite().all(), "a filled pixel is no colour"


@check
def never_peeks_under_the_mask(model: Inpainter, folder: Path) -> None:
    """Other values under the mask give the same fill."""
    trained(model)
    image, mask = pictures(model), holes(model)
    other = torch.where(mask.bool(), 255 - image, image)
    assert torch.equal(model.inpaint(image, mask) * mask, model.inpaint(other, mask) * mask), (
        "the fill depends on what the mask hides"
    )


@check
def every_kind_of_mask_is_filled_in_range(model: Inpainter, folder: Path) -> None:
    """Whatever the kind of mask, the fill is finite and stays in [0, 1]."""
    trained(model)
    for kind in KINDS:
        image, mask = pictures(model), holes(model, kind=kind)
        filled = model.inpaint(image.float() / 255, mask)
        assert filled.isfinite().all(), f"'{kind}' masks give numbers that are none"
        low, high = filled.aminmax()
        assert 0 <= low <= high <= 1, f"'{kind}' masks leave [0, 1]"


@check
def one_alone_equals_the_same_in_a_batch(model: Inpainter, folder: Path) -> None:
    """A picture's fill does not depend on its neighbours, but for float rounding."""
    trained(model)
    image, mask = pictures(model).float() / 255, holes(model)
    together = model.inpaint(image, mask)
    for number in range(len(image)):
        one = slice(number, number + 1)
        alone = model.inpaint(image[one], mask[one], first=number)
        difference = (alone[0] - together[number]).abs().max().item()
        assert difference < 1e-4, (
            f"picture {number} alone differs by {difference:.2g} from itself in a batch"
            + (
                "; draw noise with gapfill.randomness.randn, which gives each picture its own"
                if model.stochastic
                else ""
            )
        )


@check
def what_is_left_out_takes_no_part_in_a_fill(model: Inpainter, folder: Path) -> None:
    """Weights that were saved without the model's `critics` fill as the whole ones do."""
    trained(model)
    model.save(folder / "small", critics=False)
    small = registry.load(folder / "small")
    assert small.new_critics == model.critics
    image, mask = pictures(model), holes(model)
    assert torch.equal(small.inpaint(image, mask), model.inpaint(image, mask)), (
        f"a fill needs what `critics` names: {', '.join(model.critics)}"
    )


@check
def the_same_seed_gives_the_same_fill(model: Inpainter, folder: Path) -> None:
    """Filling is repeatable, and leaves torch's random numbers where they were."""
    # A model that knows little says little whatever it draws: more steps, and floats, not bytes.
    trained(model, steps=20)
    image, mask = pictures(model).float() / 255, holes(model)
    before = torch.get_rng_state()
    first = model.inpaint(image, mask, seed=3)
    assert torch.equal(before, torch.get_rng_state()), "inpaint moved torch's random state"
    assert torch.equal(first, model.inpaint(image, mask, seed=3)), "the same seed, another fill"
    other = model.inpaint(image, mask, seed=4)
    assert torch.equal(first, other) != model.stochastic, "`stochastic` says the wrong thing"


@check
def every_weight_is_reached(model: Inpainter, folder: Path) -> None:
    """Each weight has an update that gives it a gradient."""
    model.train()
    batch = _batch(model)
    reached: set[int] = set()
    for update in model.updates():
        weights = update.weights
        terms = update.loss(Batch(batch.image, batch.mask))
        _total(terms, update.name).backward(inputs=weights)
        reached |= {id(weight) for weight in weights if weight.grad is not None}
    missed = [name for name, weight in model.named_parameters() if id(weight) not in reached]
    assert not missed, f"no update reaches {', '.join(missed)}"


@check
def compiled_losses_have_the_same_gradients(model: Inpainter, folder: Path) -> None:
    """`torch.compile` takes every loss, and what it traced has the gradients of the original.

    Traced and differentiated ahead of time, but run by PyTorch's own kernels, which takes seconds.
    """
    model.train()
    updates = model.updates()
    if not updates:
        return
    compiled = {update.name: torch.compile(update.loss, backend="aot_eager") for update in updates}
    steps = range(100)
    together = dict.fromkeys(
        tuple(update for update in updates if update.when(step, len(steps))) for step in steps
    )
    for turn in together:
        batch, before = _batch(model), deepcopy(model.state_dict())
        eager = [_gradients(update, update.loss, batch) for update in turn]
        model.load_state_dict(before)  # buffers, such as spectral norms, move at every forward
        batch = _batch(model)
        traced = [_traced(update, compiled[update.name], batch) for update in turn]
        for update, ones, others in zip(turn, eager, traced, strict=True):
            _compare(model, update, ones, others)


@check
def save_and_load_give_the_same_fills(model: Inpainter, folder: Path) -> None:
    """A saved model comes back whole; needs its class to be registered."""
    trained(model)
    model.save(folder / "saved")
    again = registry.load(folder / "saved")
    assert again.config == model.config
    image, mask = pictures(model), holes(model)
    assert torch.equal(again.inpaint(image, mask), model.inpaint(image, mask))


@check
def resume_is_the_same_run(model: Inpainter, folder: Path) -> None:
    """Three steps, an interruption and three more end with the weights of six in one go."""
    if not model.optimised():
        return
    whole, parts = deepcopy(model), deepcopy(model)
    trained(whole, steps=6, log_every=1)
    _interrupted(deepcopy(model), folder / "run", after=3)
    trained(parts, folder / "run", steps=6, log_every=1, save_seconds=0)
    for (name, one), other in zip(
        whole.state_dict().items(), parts.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), f"{name} differs after a resumed run"


@check
def bad_masks_are_refused(model: Inpainter, folder: Path) -> None:
    """Masks of a wrong shape, of other values, of nothing and of everything raise UsageError."""
    trained(model)
    image, mask = pictures(model), holes(model)
    bad = {
        "shape": mask[:, 0],
        "size": mask[..., :-1],
        "count": mask[:2],
        "values": mask * 255,
        "nothing": torch.zeros_like(mask),
        "everything": torch.ones_like(mask),
    }
    for what, wrong in bad.items():
        try:
            model.inpaint(image, wrong)
        except UsageError:
            continue
        raise AssertionError(f"a mask with a wrong {what} was taken")


class _Stop(Exception):  # noqa: N818, not an error
    """Stands in for a kill in the middle of a run."""


def _interrupted(model: Inpainter, folder: Path, after: int) -> None:
    class Ending(Stream):
        def block(self, first: int, count: int) -> Tensor:
            if first == after:
                raise _Stop
            return super().block(first, count)

    stream = Ending(pictures(model, 8), batch_size=4)
    try:
        model.fit(
            stream,
            out=folder,
            quiet=True,
            steps=6,
            precision="fp32",
            device="cpu",
            mask="rect",
            log_every=1,
            save_seconds=0,
        )
    except _Stop:
        return
    raise AssertionError("the run was not interrupted")


def _gradients(
    update: Update, loss: Callable[[Batch], Terms], batch: Batch
) -> tuple[Tensor | None, ...]:
    with seeded(0):
        total = _total(loss(batch), update.name)
    return torch.autograd.grad(total, update.weights, allow_unused=True)


def _traced(
    update: Update, loss: Callable[[Batch], Terms], batch: Batch
) -> tuple[Tensor | None, ...]:
    """`_gradients` of a compiled loss; what cannot be compiled is said in one sentence."""
    loggers = [logging.getLogger(name) for name in _TELLING]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        return _gradients(update, loss, batch)
    except AssertionError:
        raise
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise AssertionError(
            f"'{update.name}' cannot be compiled: {type(error).__name__}: {reason}"
        ) from error
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _compare(
    model: Inpainter,
    update: Update,
    eager: tuple[Tensor | None, ...],
    traced: tuple[Tensor | None, ...],
) -> None:
    """Refuse compiled gradients that are others than the eager ones by more than rounding.

    Rounding is measured against the update's largest gradient: that of a bias before a
    normalisation is zero but for rounding, and no two orders of adding round alike.
    """
    names = {id(weight): name for name, weight in model.named_parameters()}
    largest = max((each.abs().max().item() for each in eager if each is not None), default=0.0)
    for weight, expected, found in zip(update.weights, eager, traced, strict=True):
        name = names.get(id(weight), "a weight outside the model")
        assert (expected is None) == (found is None), (
            f"'{update.name}' reaches {name} only when it is"
            f"{' not' if found is None else ''} compiled"
        )
        if expected is None or found is None:
            continue
        apart = (expected - found).abs().max().item()
        own = expected.abs().max().item()
        assert apart <= max(1e-3 * own, 1e-4 * largest), (
            f"the gradient of {name} in '{update.name}' differs by {apart:.2g} when compiled, "
            f"where its largest is {own:.2g} and the update's {largest:.2g}"
        )


def _total(terms: Terms, name: str) -> Tensor:
    """The sum of an update's terms."""
    loss = sum(term for term_name, term in terms.items() if not term_name.startswith(REPORTED))
    assert isinstance(loss, Tensor), f"'{name}' has no loss"
    return loss


def _batch(model: Inpainter) -> Batch:
    device = torch.device("cpu")
    return MaskedBatches(Stream(pictures(model, 8), batch_size=4), "rect", 0, device)(0)
