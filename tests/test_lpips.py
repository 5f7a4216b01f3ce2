import hashlib
import math
import pickle
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from gapfill.errors import UsageError
from gapfill.metrics import frechet_distance, kernel_distance, load_lpips, perceptual


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("LPIPS reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty place for torch.hub's files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints


@pytest.fixture(scope="module")
def random_trunk(tmp_path_factory):
    """A random AlexNet in the place and the format of the published one, and its SHA-256."""
    from torchvision.models import alexnet

    place = tmp_path_factory.mktemp("torch")
    path = place / "hub" / "checkpoints" / perceptual.TRUNK
    path.parent.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(alexnet(weights=None).state_dict(), path)
    return place, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def believed(random_trunk, monkeypatch):
    """The random trunk, taken for the published one."""
    place, found = random_trunk
    monkeypatch.setenv("TORCH_HOME", str(place))
    monkeypatch.setattr(perceptual, "TRUNK_SHA256", found[:8])


def pair(count=3, size=64):
    source = torch.Generator().manual_seed(1)
    return (
        torch.randint(0, 256, (count, 3, size, size), generator=source, dtype=torch.uint8),
        torch.randint(0, 256, (count, 3, size, size), generator=source, dtype=torch.uint8),
    )


def test_without_the_trunk_there_is_no_lpips_but_a_way_to_it(home):
    function, reason = load_lpips()
    assert function is None
    assert "is not on this machine" in reason
    assert f"put alexnet-owt-7be5be79.pth into {home}" in reason


def test_an_untrained_trunk_under_the_right_name_is_not_believed(random_trunk, monkeypatch):
    place, found = random_trunk
    monkeypatch.setenv("TORCH_HOME", str(place))
    function, reason = load_lpips()
    assert function is None
    assert f"is not the published file: its SHA-256 begins {found[:8]}, not 7be5be79" in reason


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_hidden_in_the_file_never_runs(home, monkeypatch):
    trace = home / "trace"
    content = pickle.dumps(Malice(trace), protocol=2)
    (home / perceptual.TRUNK).write_bytes(content)
    assert load_lpips()[0] is None
    monkeypatch.setattr(perceptual, "TRUNK_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(pickle.UnpicklingError):
        load_lpips()
    assert not trace.exists()


def test_a_trunk_that_cannot_be_read_is_reported(home):
    (home / perceptual.TRUNK).mkdir()
    function, reason = load_lpips()
    assert function is None
    assert "cannot be read" in reason


@pytest.mark.usefixtures("believed")
def test_the_numbers_are_those_of_the_official_class_bit_for_bit(monkeypatch):
    import lpips

    function, reason = load_lpips()
    assert reason == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = lpips.LPIPS(net="alex", verbose=False)  # finds the same file by itself
    filled, real = pair()
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


@pytest.mark.usefixtures("believed")
def test_loading_moves_no_random_numbers_and_the_result_keeps_no_graph():
    before = torch.get_rng_state()
    function, _ = load_lpips()
    assert torch.equal(torch.get_rng_state(), before)
    assert not function(*pair()).requires_grad


@pytest.mark.usefixtures("believed")
def test_what_lpips_would_take_in_silence_is_refused():
    function, _ = load_lpips()
    filled, real = pair()
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


# Distances between sets of features


def features(n, d, seed, scale=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * scale + shift


def test_the_frechet_distance_of_shifted_and_scaled_sets_has_its_closed_form():
    base = features(300, 8, 0)
    assert frechet_distance(base, base, min_n=2) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(base, base + 2, min_n=2) == pytest.approx(8 * 4)
    trace = np.cov(base.T).trace()
    expected = 9 * (base.mean(0) ** 2).sum() + 9 * trace
    assert frechet_distance(base, 4 * base, min_n=2) == pytest.approx(expected)


def test_the_frechet_distance_is_that_of_the_matrix_square_root():
    from scipy.linalg import sqrtm

    one = features(200, 6, 1) @ features(6, 6, 2)
    other = features(150, 6, 3) @ features(6, 6, 4) + 1
    root = np.real(sqrtm(np.cov(one.T) @ np.cov(other.T)))
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(
        np.cov(one.T) + np.cov(other.T) - 2 * root
    )
    assert frechet_distance(one, other, min_n=2) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, torch.tensor(one), min_n=2) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_fewer_pictures_than_features_is_finite():
    one, other = features(10, 40, 5), features(12, 40, 6)
    assert 0 < frechet_distance(one, other, min_n=2) < 200


def test_the_frechet_distance_of_few_pictures_is_refused():
    with pytest.raises(UsageError, match=r"of 2047 pictures: .* at least 2048"):
        frechet_distance(features(2047, 2, 0), features(3000, 2, 1))
    assert frechet_distance(features(2048, 2, 0), features(2048, 2, 1)) < 0.05


def test_the_kernel_distance_is_that_of_plain_loops():
    one, other = features(7, 5, 0), features(4, 5, 1, shift=0.5)

    def kernel(x, y):
        return (float(x @ y) / 5 + 1) ** 3

    def within(rows):
        n = len(rows)
        pairs = [kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / (n * (n - 1))

    across = np.mean([kernel(x, y) for x in one for y in other])
    expected = within(one) + within(other) - 2 * across
    assert kernel_distance(one, other) == pytest.approx(expected, rel=1e-10)


def test_the_kernel_distance_is_unbiased():
    # Small sets of one distribution: the mean over many tries is zero within its error.
    tries = [kernel_distance(features(20, 4, s), features(20, 4, 10_000 + s)) for s in range(400)]
    assert abs(np.mean(tries)) < 4 * np.std(tries) / 20
    assert min(tries) < 0


def test_the_kernel_distance_does_not_depend_on_the_block(monkeypatch):
    one, other = features(50, 4, 0), features(40, 4, 1)
    expected = kernel_distance(one, other)
    monkeypatch.setattr(perceptual, "_BLOCK", 7)
    assert kernel_distance(one, other) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (features(5, 3, 0), features(5, 4, 0), "3 and 4 columns"),
        (features(1, 3, 0), features(5, 3, 0), "n at least 2"),
        (features(5, 3, 0)[0], features(5, 3, 0), r"must be \[n, d\]"),
        (features(5, 3, 0) * math.nan, features(5, 3, 0), "NaN"),
    ],
)
def test_features_that_do_not_fit_are_refused(one, other, message):
    for distance in (lambda a, b: frechet_distance(a, b, min_n=2), kernel_distance):
        with pytest.raises(UsageError, match=message):
            distance(one, other)
