"""Progress without a terminal: few lines, at the right moments, with times that are right."""

import logging

import pytest
import torch

import gapfill
from gapfill import console, testing
from gapfill.data import Stream
from gapfill.train.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def follow(total, pace, looks=(), done=0, **settings):
    """The lines of a run whose steps take `pace(step)` seconds."""
    clock, lines = Clock(), []
    with Progress("unet", total, done, note=lines.append, clock=clock, **settings) as progress:
        for step in range(done, total):
            clock.now += pace(step)
            progress.step()
            if step + 1 in looks:
                progress.look(step + 1, {"score": 1.0, "hole_psnr": 20.0 + step}, best=True)
        progress.end()
    return lines


def test_a_slow_run_is_told_by_tenths_with_the_time_to_go():
    lines = follow(100, lambda step: 2.0)
    assert lines[0] == "unet: 100 steps, about 3 min to go"
    assert lines[1] == "unet: step 10 of 100, 3 min to go"
    assert lines[5] == "unet: step 50 of 100, 2 min to go"
    assert lines[-1] == "unet: 100 steps in 3 min"
    assert len(lines) == 11


def test_the_first_step_does_not_count_for_the_pace():
    assert follow(11, lambda step: 60.0 if step == 0 else 1.0)[0] == (
        "unet: 11 steps, about 6 s to go"
    )


def test_a_fast_run_says_little():
    assert follow(1000, lambda step: 0.001) == [
        "unet: 1,000 steps",
        "unet: 1,000 steps in 1 s",
    ]


def test_looks_are_told_with_their_scores_and_the_best_at_the_end():
    lines = follow(20, lambda step: 10.0, looks=(10, 20))
    assert "unet: step 20 of 20, validation: hole_psnr 39" in lines
    assert lines[-1] == "unet: 20 steps in 3 min; best at step 20: hole_psnr 39"
    assert not any("score" in line for line in lines)


def test_a_resumed_run_says_what_was_done_before():
    assert follow(1000, lambda step: 0.001, done=900)[0] == (
        "unet: 1,000 steps, 900 of them made before"
    )


def test_a_run_that_was_complete_says_so():
    assert follow(10, lambda step: 1.0, done=10) == ["unet: complete, nothing was trained"]


def test_a_run_that_falls_behind_its_budget_says_so_once():
    lines = follow(100, lambda step: 3.0 if step > 20 else 0.75, budget=75.0)
    behind = [line for line in lines if "instead of" in line]
    assert behind == [
        "unet: at this pace 2 min instead of 75 s; the number of steps stays as it was decided"
    ]


def test_a_run_within_half_of_its_budget_does_not_complain():
    assert not any("instead" in line for line in follow(100, lambda step: 1.0, budget=75.0))


def test_quiet_is_quiet(caplog):
    caplog.set_level(logging.INFO, "gapfill")
    assert follow(100, lambda step: 3.0, quiet=True, budget=1.0) == []
    assert not caplog.records


def test_a_fit_without_a_terminal_tells_its_lines_on_stderr(capsys):
    model = gapfill.create("cnn", size=32, width=4)
    stream = Stream(testing.pictures(model, 8), 4)
    model.fit(stream, steps=6, device="cpu", val=testing.pictures(model, 4), watch=1)
    said = capsys.readouterr()
    first, *_, last = said.err.splitlines()
    assert first.startswith("cnn: 6 steps")
    assert last.startswith("cnn: 6 steps in ")
    assert "best at step 6: hole_psnr " in last
    assert said.out == ""


def test_a_log_file_keeps_the_lines_and_is_let_go(tmp_path):
    path = tmp_path / "new" / "run.log"

    def command(options):
        console.say("one note")

    parser = console.Parser(prog="tool")
    parser.add_argument("--log")
    assert console.launch(command, parser, ["--log", str(path)]) == 0
    console.say("another")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert line.endswith(" one note")
    assert not logging.getLogger("gapfill").handlers


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    parser = console.Parser(prog="tool")
    parser.add_argument("--log")
    assert console.launch(lambda options: 0, parser, ["--log", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"tool: --log: cannot write {tmp_path}: Is a directory.\n"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (["--steps", "3"], "training: cnn 3 steps × 2"),
        (["--budget", "20m"], "training: cnn 20 min × 2 · about 40 min in all"),
    ],
)
def test_a_comparison_says_what_it_will_take(length, expected, tmp_path):
    from gapfill.compare.command import make_plan, parser
    from gapfill.compare.estimate import forecast

    words = ["--models", "cnn", "--seeds", "2", "--size", "32", "--out", str(tmp_path), *length]
    assert forecast(make_plan(parser().parse_args(words))) == expected


def test_a_model_that_cannot_be_timed_is_told_without_a_time(tmp_path, monkeypatch):
    from gapfill.compare import estimate
    from gapfill.compare.command import make_plan, parser

    def broken(run):
        raise RuntimeError("no memory")

    monkeypatch.setattr(estimate, "_seconds_a_step", broken)
    words = ["--models", "cnn", "--steps", "1000", "--size", "32", "--out", str(tmp_path)]
    assert estimate.forecast(make_plan(parser().parse_args(words))) == "training: cnn 1,000 steps"


@pytest.mark.parametrize("name", ["cnn", "gfc"])
def test_a_forecast_makes_steps_of_each_phase_and_leaves_nothing(name, tmp_path, monkeypatch):
    from gapfill.compare import estimate
    from gapfill.compare.command import make_plan, parser
    from gapfill.train import Trainer

    made, whole = [], Trainer._make

    def counted(trainer, step, batch):
        made.append(tuple(u.name for u in trainer.engine.updates if u.when(step, 60_000)))
        whole(trainer, step, batch)

    monkeypatch.setattr(Trainer, "_make", counted)
    words = ["--models", f"{name}:width=4", "--steps", "1000", "--size", "32", "--device", "cpu"]
    words += ["--batch-size", "4", "--out", str(tmp_path)]
    plan = make_plan(parser().parse_args(words))
    before = torch.get_rng_state()
    assert "1,000 steps (about " in estimate.forecast(plan)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(made)) == {"cnn": 1, "gfc": 3}[name]
    assert len(made) == 2 * len(set(made))
    assert not list(tmp_path.iterdir())


def test_a_long_run_is_timed_before_it_begins(tmp_path, monkeypatch):
    from gapfill.compare import estimate
    from gapfill.compare.command import make_plan, parser

    monkeypatch.setattr(estimate, "_seconds_a_step", lambda run: 0.5)
    words = ["--models", "cnn", "telea", "--steps", "1000", "--size", "32", "--out", str(tmp_path)]
    assert estimate.forecast(make_plan(parser().parse_args(words))) == (
        "training: cnn 1,000 steps (about 8 min) · about 8 min in all"
    )
