"""The trainer: updates, learning rate, averaging, guard, budget, log."""

import json
import math
import time

import pytest
import torch
from torch import nn

from gapfill.compute import resolve_precision
from gapfill.config import build
from gapfill.errors import GapfillError, UsageError
from gapfill.train import DivergedError, Trainer, Training
from gapfill.train.settings import seconds
from gapfill.types import Batch, Update, between, every


class Two(nn.Module):
    """Two players of one weight each, and a BatchNorm whose buffers move."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.0))
        self.b = nn.Parameter(torch.tensor(2.0))
        self.norm = nn.BatchNorm2d(3, affine=False)


def batches(step):
    generator = torch.Generator().manual_seed(step)
    return Batch(torch.rand(4, 3, 8, 8, generator=generator), torch.ones(4, 1, 8, 8))


def sgd(weight, lr=0.1):
    return torch.optim.SGD([weight], lr=lr)


def train(
    module, updates, folder=None, note=None, watch=None, watch_times=20, quiet=True, **settings
):
    settings = Training(
        **(
            {
                "steps": 4,
                "precision": "fp32",
                "device": "cpu",
                "ema": 0.0,
                "warmup": 0.0,
                "log_every": 1,
                "watch": watch_times,
            }
            | settings
        )
    )
    trainer = Trainer(
        module, updates, batches, settings, folder=folder, quiet=quiet, note=note, watch=watch
    )
    trainer.run()
    return trainer


def test_a_player_receives_its_own_gradient_and_no_other():
    module = Two()
    product = lambda batch: {"product": module.a * module.b}  # noqa: E731
    train(module, [Update("a", sgd(module.a), product)], steps=1)
    assert module.b.grad is None
    assert module.b.item() == 2.0
    assert module.a.item() < 1.0


def test_terms_are_summed_and_reports_are_not():
    module = Two()
    trainer = train(
        module,
        [
            Update(
                "a",
                sgd(module.a),
                lambda batch: {
                    "one": module.a * 1,
                    "two": module.a * 2,
                    "report/ignored": module.a * 100,
                },
            )
        ],
        steps=1,
    )
    line = trainer.history[0]
    assert line["a/loss"] == pytest.approx(3.0)
    assert line["a/report/ignored"] == pytest.approx(100.0)
    assert module.a.item() == pytest.approx(1 - line["lr"] * 3, abs=1e-6)


def test_an_update_is_made_when_its_turn_comes():
    module, seen = Two(), {"every": [], "late": [], "always": []}
    now = {"step": -1}

    def loss(name):
        def compute(batch):
            seen[name].append(now["step"])
            return {"x": module.a * 1}

        return compute

    def counted(step, total):
        now["step"] = step
        return True

    optimizer = sgd(module.a)
    train(
        module,
        [
            Update("always", optimizer, loss("always"), counted),
            Update("every", optimizer, loss("every"), every(2)),
            Update("late", optimizer, loss("late"), between(0.5)),
        ],
        steps=6,
    )
    assert seen == {"always": [0, 1, 2, 3, 4, 5], "every": [1, 3, 5], "late": [3, 4, 5]}


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_learning_rate_rises_then_falls_to_nearly_zero(schedule):
    module = Two()
    trainer = train(
        module,
        [Update("a", sgd(module.a), lambda batch: {"x": module.a * 0 + 1})],
        steps=50,
        warmup=0.1,
        schedule=schedule,
    )
    rates = [line["lr"] for line in trainer.history]
    top = rates.index(max(rates))
    assert 3 <= top <= 5
    assert rates[0] < rates[top] / 2
    assert rates == rates[:top] + sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.04 * max(rates)


def test_a_constant_learning_rate_rises_and_stays():
    module = Two()
    trainer = train(
        module,
        [Update("a", sgd(module.a, 0.25), lambda batch: {"x": module.a * 0 + 1})],
        steps=40,
        warmup=0.1,
        schedule="constant",
    )
    rates = [line["lr"] for line in trainer.history]
    assert rates == [0.25 * share for share in (0.25, 0.5, 0.75)] + [0.25] * 37


def test_two_updates_share_one_optimizer_and_its_schedule():
    module = Two()
    optimizer = sgd(module.a)
    update = Update("a", optimizer, lambda batch: {"x": module.a * 0 + 1})
    trainer = train(module, [update, Update("again", optimizer, update.loss)], steps=3)
    assert len(trainer.engine.optimizers) == 1
    assert {"a/loss", "again/loss"} <= set(trainer.history[0])


def test_gradients_are_clipped_to_the_norm():
    module = Two()
    made = train(
        module,
        [Update("a", sgd(module.a, 1.0), lambda batch: {"x": module.a * 1000})],
        steps=1,
        clip=0.5,
    )
    # One step down a gradient clipped to 0.5; unclipped it would be 1,000.
    assert module.a.item() == pytest.approx(1 - 0.5 * made.history[0]["lr"], rel=1e-4)


def test_averaged_weights_are_the_result_and_batchnorm_buffers_are_copied():
    module = Two()

    def loss(batch):
        module.norm(batch.image)
        return {"x": module.a * 1}

    live = []
    trainer = train(
        module,
        [
            Update(
                "a",
                sgd(module.a),
                lambda batch: (live.append(module.norm.running_mean.clone()), loss(batch))[1],
            )
        ],
        steps=30,
        ema=0.9,
    )
    # The last weights ran ahead of their average, downhill.
    assert trainer._state().module["a"].item() == module.a.item()
    assert module.a.item() > -2
    raw = Two()
    train(raw, [Update("a", sgd(raw.a), lambda batch: {"x": raw.a * 1})], steps=30)
    assert module.a.item() > raw.a.item()
    mean = torch.stack([batches(step).image.mean((0, 2, 3)) for step in range(30)])
    expected = torch.zeros(3)
    for row in mean:
        expected = 0.9 * expected + 0.1 * row
    torch.testing.assert_close(module.norm.running_mean, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_keeps_finite_weights(bad, tmp_path):
    module = Two()
    count = {"n": 0}

    def loss(batch):
        count["n"] += 1
        return {"x": module.a * (bad if count["n"] == 6 else 1)}

    with pytest.raises(DivergedError) as caught:
        train(module, [Update("critic", sgd(module.a), loss)], tmp_path, steps=9, save_seconds=0)
    what = "NaN" if math.isnan(bad) else "infinite"
    assert str(caught.value) == (
        f"loss is {what} at step 6 (critic). "
        f"Last finite checkpoint: {tmp_path / 'checkpoint-00000005.pt'}."
    )
    assert module.a.isfinite()


def test_without_a_folder_a_divergence_leaves_the_weights_of_the_beginning():
    module = Two()
    with pytest.raises(DivergedError, match=r"^loss is NaN at step 1 \(a\)\.$"):
        train(module, [Update("a", sgd(module.a), lambda batch: {"x": module.a * math.nan})])
    assert module.a.item() == 1.0


def test_the_best_scores_weights_are_kept():
    module, scores = Two(), iter([1.0, 5.0, 2.0, 3.0])
    held = []

    def watch(model, step):
        held.append(model.a.item())
        return {"score": next(scores)}

    train(
        module,
        [Update("a", sgd(module.a), lambda batch: {"x": module.a * 1})],
        steps=8,
        watch_times=4,
        watch=watch,
    )
    assert len(held) == 4
    assert module.a.item() == held[1]


def test_a_budget_becomes_steps_once_and_leaves_no_trace(tmp_path):
    module = Two()
    start = module.a.item()
    seen = []

    def loss(batch):
        seen.append(module.a.item())
        return {"x": module.a * 1}

    trainer = train(
        module,
        [Update("a", sgd(module.a), loss)],
        tmp_path,
        steps=None,
        budget="0.5s",
        log_every=1000,
    )
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["decided"]["steps"] == trainer._done > 1
    assert seen[0] == seen[20] == start  # the rehearsal was undone


def test_a_budget_for_next_to_no_steps_is_noted():
    module, notes = Two(), []

    def loss(batch):
        time.sleep(0.02)  # so that no machine makes more than five steps of it
        return {"x": module.a * 1}

    update = [Update("a", sgd(module.a), loss)]
    trainer = train(module, update, note=notes.append, quiet=False, steps=None, budget="0.1s")
    steps = trainer._done
    assert 1 <= steps <= 5
    assert notes[0].startswith(f"a budget of 0.1s is {steps} steps on this machine as it is now")


def test_settings_of_another_run_are_refused(tmp_path):
    module = Two()
    update = [Update("a", sgd(module.a), lambda batch: {"x": module.a * 1})]
    train(module, update, tmp_path)
    with pytest.raises(UsageError, match=r"other settings \(steps: 4 there, 5 now\)"):
        train(module, update, tmp_path, steps=5)


def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path):
    def fresh():
        torch.manual_seed(0)
        module = Two()
        return module, [Update("a", sgd(module.a), lambda batch: {"x": module.a**2})]

    module, update = fresh()
    train(module, update, tmp_path, save_seconds=0, steps=6)
    last = tmp_path / "checkpoint-00000006.pt"
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    again, update = fresh()
    notes = []
    train(again, update, tmp_path, note=notes.append, save_seconds=0, steps=6)
    assert notes == [
        f"checkpoint {last} is damaged (sha256 mismatch). Continuing from the one before, step 5."
    ]
    assert torch.equal(again.a, module.a)


def test_the_log_holds_each_step_once_after_a_resume(tmp_path):
    module = Two()
    update = [Update("a", sgd(module.a), lambda batch: {"x": module.a * 1})]
    train(module, update, tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 99, "a/loss": 1}\n{"step": 100, "a/lo')
    trainer = train(module, update, tmp_path)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    assert [line["step"] for line in trainer.history] == steps


def test_a_loader_without_a_length_needs_steps():
    module = Two()
    with pytest.raises(GapfillError, match="say how long with steps= or budget="):
        train(module, [Update("a", sgd(module.a), lambda batch: {"x": module.a * 1})], steps=None)


def test_lengths_exclude_each_other():
    with pytest.raises(UsageError, match="give one of steps, epochs and budget, not steps and bud"):
        Training(steps=3, budget="10m")


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_time_is_read(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["1001h", "99999999999h", "9" * 5000 + "s"])
def test_a_budget_has_an_end(text):
    with pytest.raises(UsageError, match="budget must be at most 1000h; got '") as caught:
        Training(budget=text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "given", [{"steps": 10**10}, {"epochs": 1e12}, {"watch": 10**9}, {"log_every": 10**9}], ids=str
)
def test_lengths_have_an_end(given):
    with pytest.raises(UsageError, match="must be"):
        build(Training, given)


def test_epochs_that_are_too_many_steps_are_refused():
    module = Two()
    update = Update("a", sgd(module.a), lambda batch: {"x": module.a * 1})
    settings = Training(epochs=1e6, device="cpu", precision="fp32")
    trainer = Trainer(module, [update], batches, settings, steps_per_epoch=10_000, quiet=True)
    with pytest.raises(UsageError, match="at most 1,000,000,000"):
        trainer.run()


@pytest.mark.parametrize("text", ["", "10", "m", "0s", "ten minutes", "-5m"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="budget must be a time such as 90s, 10m or 1h"):
        seconds(text)


def test_precision_is_what_was_asked_or_what_the_machine_has():
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    assert resolve_precision("auto", cpu) in ("fp32", "bf16")


class Root(nn.Module):
    """A weight whose slope is infinite where its loss is still a number."""

    def __init__(self, start):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(start))


def test_weights_that_the_last_step_broke_are_no_result():
    module = Root(0.0)
    update = Update("a", torch.optim.Adam([module.a]), lambda batch: {"root": module.a.sqrt()})
    with pytest.raises(DivergedError, match=r"^loss is NaN at step 1 \(its weights\)\.$"):
        train(module, [update], steps=1)
    assert module.a.item() == 0.0  # as it began


def test_no_checkpoint_keeps_weights_that_are_no_numbers(tmp_path):
    module = Root(1.0)
    calls = []

    def loss(batch):
        calls.append(1)
        return {"a": module.a if len(calls) < 3 else (module.a - module.a.detach()).abs().sqrt()}

    with pytest.raises(DivergedError, match=r"Last finite checkpoint: .*00000002\.pt"):
        train(
            module,
            [Update("a", sgd(module.a), loss)],
            folder=tmp_path,
            steps=9,
            save_seconds=0.0,
        )
    assert module.a.isfinite()
