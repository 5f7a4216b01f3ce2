"""What a run's folder holds is tied to its run: files exchanged, edited, damaged, held by two."""

import json
import multiprocessing
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from common import Ending, Killed, message, same
from PIL import Image

import gapfill
from gapfill import checkpoint, testing
from gapfill.data import Stream
from gapfill.errors import GapfillError, UsageError
from gapfill.randomness import seeded
from gapfill.train.folder import RunFolder
from gapfill.train.lock import Lock

SETTINGS = {
    "steps": 6,
    "precision": "fp32",
    "device": "cpu",
    "log_every": 1,
    "watch": 3,
    "save_seconds": 0,
}


def fresh(seed=0):
    with seeded(seed):
        return gapfill.create("cnn", size=32, width=4)


def fit(folder, model=None, loader=None, **more):
    model = model or fresh()
    images = testing.pictures(model, 12)
    given = SETTINGS | {"val": images[:4], "quiet": True} | more
    return model.fit(loader or Stream(images, 4), out=folder, **given)


def kill_at(step, folder, **more):
    with pytest.raises(Killed):
        fit(folder, loader=Ending(step, testing.pictures(fresh(), 12)), **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run's folder, and its model."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(folder)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the finished run that may be spoilt."""
    shutil.copytree(whole[0], tmp_path / "run")
    return tmp_path / "run"


def checkpoints(folder):
    return sorted(folder.glob("checkpoint-*.pt"))


def rewritten(path, **changes):
    checkpoint.save(path, checkpoint.load(path) | changes)


# Files of another run ---------------------------------------------------------------------------


def test_a_run_needs_no_file_but_its_newest_checkpoint_and_its_plan(whole, run):
    for path in run.iterdir():
        if path not in (run / "plan.json", checkpoints(run)[-1]):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert same(fit(run), whole[1])


def test_a_checkpoint_of_another_run_is_refused_with_the_cure(whole, run, tmp_path):
    fit(tmp_path / "other", seed=1)
    stranger = checkpoints(tmp_path / "other")[-1]
    shutil.copy(stranger, run)
    text = message(fit, run, error=GapfillError)
    assert text == (
        f"{run / stranger.name} is of another run than {run / 'plan.json'}. "
        "Move it away to go on without it."
    )
    (run / stranger.name).unlink()
    assert same(fit(run), whole[1])


def test_a_plan_of_another_run_is_refused(run, tmp_path):
    fit(tmp_path / "other", watch=0)
    shutil.copy(tmp_path / "other" / "plan.json", run)
    assert "(watch: 0 there, 3 now)" in message(fit, run)


def test_checkpoints_without_their_plan_are_refused(run):
    (run / "plan.json").unlink()
    assert "without a plan.json" in message(fit, run, error=GapfillError)


def test_a_checkpoint_under_another_steps_name_is_passed_over(whole, run):
    first, last = checkpoints(run)
    shutil.copy(first, last)
    assert same(fit(run), whole[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"best_weights": {}},
        {"module": {}},
        {"ema": None},
        {"module": [1, 2]},
        {"step": "6"},
        {"step": -1},
        {"optimizers": []},
        {"optimizers": [{0: {"exp_avg": torch.ones(3)}}]},
        {"optimizers": [{99: {}}]},
        {"best": "good"},
        {"batch_size": 1e9},
        {"more": 1},
    ],
    ids=str,
)
def test_a_checkpoint_whose_hash_is_right_and_whose_content_is_not_is_passed_over(
    whole, run, wrong, capsys
):
    rewritten(checkpoints(run)[-1], **wrong)
    assert same(fit(run), whole[1])
    said = capsys.readouterr().err
    assert f"checkpoint {run / 'checkpoint-00000006.pt'} is damaged (" in said
    assert "Continuing from the one before, step 5." in said


def test_a_checkpoint_that_is_no_state_at_all_is_passed_over(whole, run):
    checkpoint.save(checkpoints(run)[-1], {})
    assert same(fit(run), whole[1])


# The plan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"steps": 7}, {"precision": "bf16"}, {"watch": 1}, {"more": 1}], ids=str
)
def test_a_plan_that_was_edited_is_not_believed(run, change):
    path = run / "plan.json"
    plan = json.loads(path.read_text())
    plan["decided"] |= change
    path.write_text(json.dumps(plan))
    assert "was changed since it was written. Give another --out" in message(
        fit, run, error=GapfillError
    )


def test_a_plan_that_was_edited_and_hashed_again_is_not_believed(tmp_path):
    kill_at(3, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    folder = RunFolder(tmp_path, print)
    folder.write_plan(plan["wanted"], plan["decided"] | {"steps": 7})
    assert "(steps: 7 there, 6 now)" in message(fit, tmp_path, error=GapfillError)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 10_000, '{"wanted": 1}', '{"a": ' + "9" * 5000 + "}", "\udcff"]
)
def test_a_plan_that_is_none_is_one_line_with_its_name(run, text):
    (run / "plan.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert message(fit, run, error=GapfillError).startswith(str(run / "plan.json"))


# What belongs to a run --------------------------------------------------------------------------


def test_other_initial_weights_are_another_run(run):
    assert "(initial_weights: " in message(fit, run, fresh(1))


def test_a_model_goes_on_in_its_own_folder_from_where_it_is(whole, tmp_path):
    model = fresh()

    class Once(Stream):
        killed = False

        def block(self, first, count):
            if first == 3 and not self.killed:
                self.killed = True
                raise Killed
            return super().block(first, count)

    loader = Once(testing.pictures(model, 12), 4)
    with pytest.raises(Killed):
        fit(tmp_path, model, loader)
    assert same(fit(tmp_path, model, loader), whole[1])


def test_other_validation_pictures_are_another_run(run):
    other = testing.pictures(fresh(), 4, seed=5)
    assert "(validation: " in message(fit, run, val=other)
    assert "(validation: " in message(fit, run, val=None)


def test_mask_pictures_that_changed_are_another_run_and_are_read_again(tmp_path):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 4:20, 4:20] = 1
    (tmp_path / "masks").mkdir()
    picture = tmp_path / "masks" / "a.png"
    save_mask(picture, mask)
    kind = f"file:{tmp_path / 'masks'}"
    kill_at(3, tmp_path / "run", mask=kind)
    assert torch.equal(gapfill.masks.draw(kind, 0, 32), mask)
    save_mask(picture, mask.flip(2))
    assert torch.equal(gapfill.masks.draw(kind, 0, 32), mask.flip(2))
    assert "(mask_pictures: " in message(fit, tmp_path / "run", mask=kind)


def save_mask(path, mask):
    Image.fromarray((mask[0, 0] * 255).byte().numpy()).save(path)


def test_what_makes_a_run_stands_with_its_weights(whole, tmp_path):
    model = whole[1]
    model.save(tmp_path)
    found = gapfill.load(tmp_path).training_run
    images = testing.pictures(model, 12)
    settings = {name: value for name, value in SETTINGS.items() if name != "save_seconds"}
    assert found == fresh().identity(Stream(images, 4), val=images[:4], **settings)
    assert (found["mask"], found["seed"], found["steps"]) == ("center", 0, 6)
    assert found["initial_weights"] == checkpoint.digest(fresh().state_dict())


# The log ----------------------------------------------------------------------------------------


def test_damaged_lines_of_a_log_are_named_and_the_others_stay(whole, run, capsys):
    path = run / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = '{"step": 2, "gen\n'
    lines[3] = "[]\n"
    path.write_text("".join(lines))
    model = fit(run)
    assert same(model, whole[1])
    kept = [line for number, line in enumerate(lines) if number not in (1, 3)]
    assert path.read_text() == "".join(kept)
    assert f"{path}: lines 2 and 4 cannot be read and were left out." in capsys.readouterr().err


def test_a_missing_log_and_a_changed_number_are_said(run, capsys):
    path = run / "log.jsonl"
    path.write_text(path.read_text().replace('"step": 1,', '"step": 0,', 1))
    fit(run)
    assert f"{path} is not what was written up to step 6" in capsys.readouterr().err
    path.unlink()
    fit(run)
    assert f"{path} is missing: the curves of this run begin at step 6." in capsys.readouterr().err


def test_an_unspoilt_log_is_not_spoken_of(run, tmp_path, capsys):
    fit(run)
    kill_at(3, tmp_path / "killed")
    fit(tmp_path / "killed")
    assert "log.jsonl" not in capsys.readouterr().err


# One run a folder -------------------------------------------------------------------------------


def hold(folder, pipe):
    lock = Lock(folder)
    lock.acquire()
    pipe.send("held")
    pipe.recv()


def test_a_folder_takes_one_process_and_a_killed_one_leaves_it_free(tmp_path):
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    text = message(Lock(tmp_path).acquire)
    assert text.startswith(f"{tmp_path} is in use by process {process.pid} on ")
    process.kill()
    process.join()
    lock = Lock(tmp_path)
    lock.acquire()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_one_run_of_a_process(tmp_path):
    with RunFolder(tmp_path, print).held():
        assert "is in use by another thread of this process" in message(fit, tmp_path)
    fit(tmp_path)


def test_of_threads_that_want_a_folder_at_once_one_gets_it(tmp_path):
    threads, tries = 4, 50
    start, held = threading.Barrier(threads), []

    def take():
        for number in range(tries):
            lock = Lock(tmp_path)
            start.wait()
            try:
                lock.acquire()
                held.append(number)
            except UsageError:
                lock = None
            start.wait()
            if lock is not None:
                lock.release()
            start.wait()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(take) for _ in range(threads)]:
            done.result()
    assert held == list(range(tries))
    assert not list(tmp_path.iterdir())


def test_a_stale_lock_file_is_no_lock(tmp_path):
    (tmp_path / ".lock").write_text("process 1 on nowhere")
    lock = Lock(tmp_path)
    lock.acquire()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_what_kills_left_is_swept_in_every_folder_of_a_run(run):
    assert (run / "model").is_dir()
    left = [run / place / ".partial-abc" for place in (".", "samples", "model")]
    for path in left:
        path.write_text("")
    fit(run)
    assert not any(path.exists() for path in left)


def test_a_sweep_waits_for_the_lock(tmp_path):
    with RunFolder(tmp_path, print).held():
        (tmp_path / ".partial-abc").write_text("")
        with pytest.raises(UsageError), RunFolder(tmp_path, print).held():
            pass
        assert (tmp_path / ".partial-abc").exists()
