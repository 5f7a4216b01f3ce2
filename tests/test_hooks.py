"""What `fit` calls on the way, and what TensorBoard finds of it."""

import json
import sys

import pytest
import torch
from common import message

import gapfill
from gapfill import compare, loggers, report, testing
from gapfill.data import Stream, table
from gapfill.randomness import seeded
from gapfill.train import trainer

SETTINGS = {
    "steps": 12,
    "log_every": 3,
    "watch": 2,
    "precision": "fp32",
    "device": "cpu",
    "quiet": True,
}


class Notes:
    """Keeps what it is handed; raises at the lines and looks of one step."""

    def __init__(self, bad=None):
        self.lines, self.looks, self.bad = [], [], bad

    def log(self, line):
        self.lines.append(line)
        if line["step"] == self.bad:
            raise ZeroDivisionError("my own")

    def look(self, look):
        self.looks.append(look)


def fit_small(hooks, **settings):
    with seeded(0):
        model = gapfill.create("cnn", size=32, width=4)
    images = testing.pictures(model, 24)
    settings = SETTINGS | {"val": images[:6]} | settings
    return model.fit(Stream(images, 4), on_log=hooks.log, on_look=hooks.look, **settings)


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def events(folder):
    """Tags to (step, value), as TensorBoard would show them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is not installed",
    )
    found = accumulator.EventAccumulator(str(folder), size_guidance=dict.fromkeys(SIZES, 0))
    return found.Reload()


SIZES = ("scalars", "images", "tensors")


def scalars(folder):
    found = events(folder)
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def expected(folder):
    """The same, from the run's own log."""
    wanted = {}
    for line in read_log(folder):
        for name, value in line.items():
            if name != "step":
                wanted.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    return wanted


def test_callbacks_get_the_lines_of_the_log_and_the_looks(tmp_path):
    notes = Notes()
    model = fit_small(notes, out=tmp_path)
    losses = [line for line in read_log(tmp_path) if "lr" in line]
    looks = [line for line in read_log(tmp_path) if "lr" not in line]
    assert notes.lines == losses == [line for line in model.history if "lr" in line]
    assert [line["step"] for line in notes.lines] == [3, 6, 9, 12]
    assert [look.step for look in notes.looks] == [6, 12]
    assert [{f"val/{key}": look.scores[key] for key in look.scores} for look in notes.looks] == [
        {key: value for key, value in line.items() if key != "step"} for line in looks
    ]
    first, second = (look.scores["score"] for look in notes.looks)
    assert [look.best for look in notes.looks] == [True, second > first]


def test_a_look_shows_corrupted_filled_and_real():
    notes = Notes()
    model = fit_small(notes)
    images = testing.pictures(model, 24)[:6]
    samples = notes.looks[-1].samples
    assert samples.dtype == torch.uint8
    assert samples.shape == (6, 3, 32, 96)
    corrupted, filled, real = samples.split(32, dim=3)
    assert torch.equal(real, images)
    hole = (corrupted != real).any(1)
    assert torch.equal(torch.where(hole[:, None], real, filled), real)
    assert (filled != real).any()


def test_without_pictures_to_validate_nobody_looks():
    notes = Notes()
    fit_small(notes, val=None)
    assert len(notes.lines) == 4
    assert notes.looks == []


def test_a_callback_cannot_change_the_log(tmp_path):
    class Vandal(Notes):
        def log(self, line):
            line.clear()

    model = fit_small(Vandal(), out=tmp_path)
    assert [line["step"] for line in model.history if "lr" in line] == [3, 6, 9, 12]


@pytest.mark.parametrize("every", [0.0, 60.0])
def test_a_callback_that_raises_ends_the_run_and_the_next_call_goes_on(tmp_path, every):
    notes = Notes(bad=9)
    with pytest.raises(ZeroDivisionError, match="my own"):
        fit_small(notes, out=tmp_path / "run", save_seconds=every)
    again = Notes()
    model = fit_small(again, out=tmp_path / "run", save_seconds=every)
    whole = fit_small(Notes(), out=tmp_path / "whole", save_seconds=every)
    assert [line["step"] for line in again.lines] == ([9, 12] if every == 0 else [3, 6, 9, 12])
    for ours, theirs in zip(model.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert read_log(tmp_path / "run") == read_log(tmp_path / "whole")


def test_what_cannot_be_called_is_refused_before_the_work(tmp_path):
    model = gapfill.create("cnn", size=32, width=4)
    text = message(model.fit, Stream(testing.pictures(model, 8), 4), on_log="wandb", out=tmp_path)
    assert text == "on_log must be a function; got str."
    assert not list(tmp_path.iterdir())


def test_only_the_first_process_calls(monkeypatch):
    model = gapfill.create("cnn", size=32, width=4)
    monkeypatch.setattr(trainer.ranks, "rank", lambda: 1)
    made = trainer.Trainer(
        model, model.updates(), lambda step: None, trainer.Training(), on_log=Notes().log
    )
    assert made._on_log is None


def test_tensorboard_has_what_the_log_has(tmp_path):
    with loggers.TensorBoard(tmp_path / "board") as board:
        fit_small(board, out=tmp_path / "run")
    assert scalars(tmp_path / "board") == expected(tmp_path / "run")
    images = events(tmp_path / "board").Images("val/samples")
    assert [image.step for image in images] == [6, 12]


@pytest.mark.parametrize("every", [0.0, 60.0])
def test_tensorboard_has_no_step_twice_after_a_resumed_run(tmp_path, every):
    class Failing(loggers.TensorBoard):
        def look(self, look):
            super().look(look)
            raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        Failing(tmp_path / "board") as board,
    ):
        fit_small(board, out=tmp_path / "run", save_seconds=every)
    assert scalars(tmp_path / "board")["lr"]
    with loggers.TensorBoard(tmp_path / "board") as board:
        fit_small(board, out=tmp_path / "run", save_seconds=every)
    assert scalars(tmp_path / "board") == expected(tmp_path / "run")
    assert [image.step for image in events(tmp_path / "board").Images("val/samples")] == [6, 12]


def test_tensorboard_that_is_missing_is_named_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    text = message(loggers.TensorBoard, tmp_path)
    assert text.endswith("not installed: pip install tensorboard")
    assert "Known: tensorboard" in message(loggers.require, "wandb")


def test_a_comparison_writes_its_runs_and_its_table_for_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    monkeypatch.setattr(table, "GENERATED_COUNTS", (40, 8, 8))
    monkeypatch.setattr("gapfill.compare.evaluate._median_seconds", lambda *a: 0.01)
    small = ["--size", "32", "--steps", "3", "--batch-size", "8", "--quiet", "--device", "cpu"]
    out = str(tmp_path)
    assert compare.main(["--models", "cnn", *small, "--logger", "tensorboard", "--out", out]) == 0
    run = tmp_path / "models" / "cnn" / "seed-0"
    assert scalars(tmp_path / "tensorboard" / "cnn" / "seed-0") == expected(run)
    found = events(tmp_path / "tensorboard")
    text = found.Tensors("table/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == report.paper(tmp_path, "markdown")
    assert found.Images("pictures")[0].height == report.sheet(tmp_path).shape[0]
    assert "--logger" not in json.loads((tmp_path / "results.json").read_text())["command"]


def test_what_is_known_of_weights_outlives_a_budget_that_was_cut_while_steps_were_timed(tmp_path):
    class Cut(Stream):
        def block(self, first, count):
            if first > 4:
                raise KeyboardInterrupt
            return super().block(first, count)

    model = gapfill.create("cnn", size=32, width=4)
    images = testing.pictures(model, 12)
    model.fit(Stream(images, 4), steps=1, device="cpu", quiet=True, data="mine, CC BY")
    run, cost, seen = model.training_run, model.training_cost, model.training_pictures
    with pytest.raises(KeyboardInterrupt):
        model.fit(Cut(images, 4), budget="20s", device="cpu", quiet=True, data="others")
    assert (model.training_run, model.training_cost) == (run, cost)
    assert model.training_pictures is seen
    assert model.training_data == "mine, CC BY"
