import errno
import io
import json
import os
import pickle
import random
import stat
import threading
from pathlib import Path

import pytest
import torch

from gapfill import checkpoint
from gapfill.checkpoint import DamagedError
from gapfill.errors import GapfillError


def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "step": 7,
        "module": {"weight": torch.randn(4, 3, generator=generator), "count": torch.tensor(5)},
        "best": float("-inf"),
        "ema": None,
        "optimizers": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def flipped(data, at, bit):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def plant(path, proof):
    """A checkpoint whose header and hash are right and whose body holds code."""
    buffer = io.BytesIO()
    torch.save({"step": 1, "evil": Trap(proof)}, buffer)
    data = buffer.getvalue()
    checkpoint.write_atomic(
        path, checkpoint._MAGIC, checkpoint.hashlib.sha256(data).hexdigest().encode() + b"\n", data
    )


def test_what_is_written_is_what_was_given(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    checkpoint.write_atomic(path, b"one", memoryview(b" two"))
    assert path.read_bytes() == b"one two"
    checkpoint.write_atomic(path, b"three")
    assert path.read_bytes() == b"three"
    assert names(path.parent) == ["file"]


def test_json_is_utf8_ends_with_a_newline_and_refuses_nan(tmp_path):
    checkpoint.write_json(tmp_path / "a.json", {"größe": [1, None]})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert json.loads(text) == {"größe": [1, None]}
    assert "größe" in text
    assert text.endswith("}\n")
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_a_written_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / "usual").write_text("")
    checkpoint.write_text(tmp_path / "ours", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]


def test_what_a_person_named_stays_what_it_is(tmp_path):
    device = Path(os.devnull)
    before = device.stat()
    checkpoint.write_named(device, b"gone")
    assert (device.stat().st_mode, device.stat().st_rdev) == (before.st_mode, before.st_rdev)
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    checkpoint.write_json(link, {"a": 1}, named=True)
    assert link.is_symlink()
    assert json.loads(real.read_text()) == {"a": 1}
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    checkpoint.write_named(tmp_path / "dangling", b"there")
    assert (tmp_path / "new").read_bytes() == b"there"
    with pytest.raises(GapfillError, match="cannot write"):
        checkpoint.write_named(tmp_path, b"a folder")


def test_a_pipe_gets_everything_and_stays_a_pipe(tmp_path):
    pipe, data = tmp_path / "pipe", bytes(range(256)) * 1000
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    checkpoint.write_named(pipe, data)
    reader.join()
    assert found == [data]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("text", ["", "[]", "3", "[" * 10_000, '{"a": NaN}', '{"a": ' + "9" * 5000])
def test_json_that_is_no_object_is_one_line_with_its_file(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedError, match=r"a\.json is damaged \(.*\)\.$"):
        checkpoint.read_json(tmp_path / "a.json")


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    for read in (checkpoint.read_json, checkpoint.load):
        with pytest.raises(GapfillError, match="it is no regular file"):
            read(tmp_path / "a.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    checkpoint.save_weights(tmp_path / "m", {"a": torch.ones(2), "b": torch.tensor([1, value])}, {})
    with pytest.raises(DamagedError, match="hold NaN or infinity in 'b'"):
        checkpoint.load_weights(tmp_path / "m")


@pytest.mark.parametrize("broken", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [no_space, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, broken, failure
):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        if failure is KeyboardInterrupt:
            raise KeyboardInterrupt
        failure(*args, **kwargs)

    monkeypatch.setattr(os, broken, fail)
    expected = KeyboardInterrupt if failure is KeyboardInterrupt else GapfillError
    with pytest.raises(expected):
        checkpoint.write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: checkpoint.save(path, state()),
        lambda path: checkpoint.save_weights(path, {"w": torch.ones(2)}, {}),
        lambda path: checkpoint.write_json(path, {}),
    ],
    ids=["checkpoint", "weights", "json"],
)
def test_a_full_disk_is_one_line_with_its_cause(tmp_path, monkeypatch, write):
    monkeypatch.setattr(os, "fsync", no_space)
    path = tmp_path / "file"
    with pytest.raises(GapfillError) as caught:
        write(path)
    assert str(caught.value) == f"cannot write {path}: No space left on device."
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GapfillError, match=r"cannot write .*file/inside"):
        checkpoint.write_text(tmp_path / "file" / "inside", "")


def test_a_sweep_takes_what_a_kill_left_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "kept.pt").write_text("")
    (tmp_path / "partial-notes.txt").write_text("")
    # A kill leaves no time to clean up: let the cleaning up do nothing.
    monkeypatch.setattr(os, "replace", no_space)
    monkeypatch.setattr(Path, "unlink", lambda *args, **kwargs: None)
    with pytest.raises(GapfillError):
        checkpoint.write_text(tmp_path / "a.pt", "half")
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 3
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == ["kept.pt", "partial-notes.txt"]


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a.pt"
    given = state()
    checkpoint.save(path, given)
    found = checkpoint.load(path)
    assert found.keys() == given.keys()
    assert torch.equal(found["module"]["weight"], given["module"]["weight"])
    assert found["module"]["count"].shape == ()
    assert torch.equal(found["optimizers"][0]["state"][0]["exp_avg"], torch.ones(3))
    assert (found["step"], found["best"], found["ema"]) == (7, float("-inf"), None)


def test_a_flipped_bit_anywhere_in_a_checkpoint_is_found(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, state())
    data = path.read_bytes()
    choose = random.Random(0)
    unnoticed = []
    for at in [*range(120), *range(120, len(data), 7)]:
        path.write_bytes(flipped(data, at, choose.randrange(8)))
        try:
            checkpoint.load(path)
            unnoticed.append(at)
        except DamagedError:
            pass
    assert not unnoticed, f"flips at bytes {unnoticed} of {len(data)} went unnoticed"


def test_a_damaged_checkpoint_names_file_and_reason(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, state())
    data = path.read_bytes()
    path.write_bytes(flipped(data, len(data) - 9, 0))
    with pytest.raises(DamagedError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"checkpoint {path} is damaged (sha256 mismatch)."
    path.write_bytes(b"")
    with pytest.raises(DamagedError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"checkpoint {path} is damaged (no gapfill header)."


def test_a_checkpoint_cut_anywhere_is_found(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, state())
    data = path.read_bytes()
    for length in [*range(120), *range(120, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DamagedError):
            checkpoint.load(path)


def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(GapfillError, match=r"cannot read .*a\.pt: No such file"):
        checkpoint.load(tmp_path / "a.pt")


def test_a_checkpoint_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    proof = tmp_path / "ran"
    plant(tmp_path / "evil.pt", proof)
    with pytest.raises((GapfillError, pickle.UnpicklingError)):
        checkpoint.load(tmp_path / "evil.pt")
    assert not proof.exists()


def test_a_checkpoint_with_code_in_it_is_one_line_for_the_user(tmp_path):
    plant(tmp_path / "evil.pt", tmp_path / "ran")
    with pytest.raises(GapfillError, match=r"evil\.pt"):
        checkpoint.load(tmp_path / "evil.pt")


def weights():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(4, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator).bfloat16(),
        "count": torch.tensor(12),
        "flag": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


def test_weights_come_back_with_what_was_said_of_them(tmp_path):
    path, about = tmp_path / "m.safetensors", {"model": "cnn", "config": {"größe": [1, None]}}
    digest = checkpoint.save_weights(path, weights(), about)
    tensors, said = checkpoint.load_weights(path)
    assert said == about
    assert tensors.keys() == weights().keys()
    for name, tensor in weights().items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)
    assert checkpoint.digest_of(path) == digest
    assert len(digest) == 64


def test_the_digest_names_the_content_and_nothing_else(tmp_path):
    def digest(tensors, about):
        return checkpoint.save_weights(tmp_path / "m.safetensors", tensors, about)

    one = digest(weights(), {"a": 1, "b": 2})
    assert one == digest(dict(reversed(weights().items())), {"b": 2, "a": 1})
    assert one != digest(weights(), {"a": 1, "b": 3})
    assert one != digest(weights() | {"count": torch.tensor(13)}, {"a": 1, "b": 2})
    assert one != digest(weights() | {"a.weight": weights()["a.weight"].T}, {"a": 1, "b": 2})


def test_weights_kept_in_channels_last_survive(tmp_path):
    path = tmp_path / "m.safetensors"
    tensor = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    assert not tensor.is_contiguous()
    checkpoint.save_weights(path, {"w": tensor.requires_grad_()}, {})
    assert torch.equal(checkpoint.load_weights(path)[0]["w"], tensor)
    checkpoint.save(tmp_path / "a.pt", {"w": tensor.detach()})
    again = checkpoint.load(tmp_path / "a.pt")["w"]
    assert torch.equal(again, tensor)
    assert again.stride() == tensor.stride()


def test_a_model_without_weights_can_be_kept(tmp_path):
    checkpoint.save_weights(tmp_path / "m.safetensors", {}, {"model": "telea"})
    assert checkpoint.load_weights(tmp_path / "m.safetensors") == ({}, {"model": "telea"})


def test_a_flipped_bit_anywhere_in_a_file_of_weights_is_found(tmp_path):
    path = tmp_path / "m.safetensors"
    checkpoint.save_weights(path, weights(), {"model": "cnn", "config": {"size": 32}})
    data = path.read_bytes()
    choose = random.Random(0)
    for at in range(len(data)):
        path.write_bytes(flipped(data, at, choose.randrange(8)))
        with pytest.raises(GapfillError, match=r"m\.safetensors"):
            checkpoint.load_weights(path)


def test_a_file_of_weights_cut_anywhere_is_found(tmp_path):
    path = tmp_path / "m.safetensors"
    checkpoint.save_weights(path, weights(), {"model": "cnn"})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedError):
            checkpoint.load_weights(path)


def test_weights_of_somebody_else_are_refused_in_one_line(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(GapfillError, match="was not written by gapfill"):
        checkpoint.load_weights(path)


def test_weights_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(GapfillError, match="there are no weights at"):
        checkpoint.load_weights(tmp_path / "m.safetensors")
    assert checkpoint.digest_of(tmp_path / "m.safetensors") is None


def test_the_digest_of_a_damaged_file_of_weights_is_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(GapfillError, match=r"m\.safetensors"):
        checkpoint.digest_of(path)


def test_a_pickle_under_the_name_of_weights_is_refused_and_does_not_run(tmp_path):
    path, proof = tmp_path / "m.safetensors", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Trap(proof)))
    pickle.loads(path.read_bytes())
    assert proof.is_dir(), "the trap does not work"
    proof.rmdir()
    with pytest.raises(DamagedError):
        checkpoint.load_weights(path)
    assert not proof.exists()
