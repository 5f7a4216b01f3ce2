import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.utils._python_dispatch import TorchDispatchMode

from gapfill import metrics
from gapfill.errors import UsageError
from gapfill.masks import area, draw
from gapfill.metrics import METRICS, diversity, pixel, score, summary

IN_THE_HOLE = ["hole_psnr", "hole_ssim", "hole_l1", "sharpness"]


def pictures(count=6, size=64, seed=0):
    """Smooth pictures with some grain, and a filled version that differs only in the hole."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=source)
    real = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 220
    real += 20 * torch.rand(real.shape, generator=source)
    fill = real + 25 * torch.randn(real.shape, generator=source)
    mask = draw("rect+brush", range(count), size)
    filled = torch.where(mask.bool(), fill, real)
    return filled.clamp(0, 255).byte(), real.clamp(0, 255).byte(), mask


def flat(level, size=16, count=1):
    return torch.full((count, 3, size, size), level, dtype=torch.uint8)


def box(rows, columns, size=16):
    mask = torch.zeros(1, 1, size, size)
    mask[..., rows, columns] = 1
    return mask


# Against independent implementations


def reference_ssim(filled, real, **options):
    return structural_similarity(
        filled.permute(1, 2, 0).double().numpy() / 255,
        real.permute(1, 2, 0).double().numpy() / 255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        **options,
    )


@pytest.mark.parametrize("shape", [(64, 64), (11, 11), (33, 47)])
def test_ssim_is_that_of_scikit_image(shape):
    source = torch.Generator().manual_seed(1)
    real = torch.randint(0, 256, (5, 3, *shape), generator=source, dtype=torch.uint8)
    noise = torch.randint(-40, 41, real.shape, generator=source)
    filled = (real + noise).clamp(0, 255).byte()
    expected = [reference_ssim(one, other) for one, other in zip(filled, real, strict=True)]
    assert metrics.ssim(filled, real).tolist() == pytest.approx(expected, abs=1e-9)


def test_ssim_in_the_hole_is_the_mean_of_scikit_images_map_over_missing_centres():
    filled, real, mask = pictures()
    expected = []
    for one, other, hole in zip(filled, real, mask, strict=True):
        _, full = reference_ssim(one, other, full=True)
        valid = np.zeros((64, 64), bool)
        valid[5:-5, 5:-5] = True
        expected.append(full[valid & (hole[0].numpy() == 1)].mean())
    assert metrics.ssim_hole(filled, real, mask).tolist() == pytest.approx(expected, abs=1e-9)


def test_psnr_is_that_of_scikit_image():
    filled, real, mask = pictures()
    whole = [
        peak_signal_noise_ratio(b.numpy(), a.numpy()) for a, b in zip(filled, real, strict=True)
    ]
    assert metrics.psnr(filled, real).tolist() == pytest.approx(whole, abs=1e-9)
    holes = [
        peak_signal_noise_ratio(b[:, m[0] == 1].numpy(), a[:, m[0] == 1].numpy())
        for a, b, m in zip(filled, real, mask, strict=True)
    ]
    assert metrics.psnr_hole(filled, real, mask).tolist() == pytest.approx(holes, abs=1e-9)


def test_gradient_energy_and_jumps_are_those_of_plain_loops():
    filled, real, mask = pictures(count=2, size=16)

    def plain(image, hole, value, chosen):
        total = pairs = 0
        for i in range(16):
            for j in range(16):
                for k, m in ((i, j + 1), (i + 1, j)):
                    if k < 16 and m < 16 and chosen(hole[i, j], hole[k, m]):
                        total += sum(value(int(c[i, j]) - int(c[k, m])) for c in image)
                        pairs += 3
        return total / pairs

    for n in range(2):
        hole = mask[n, 0].bool()
        both, one_only = (lambda a, b: bool(a & b)), (lambda a, b: bool(a ^ b))
        energy = [plain(image[n], hole, lambda x: x * x, both) for image in (filled, real)]
        jump = [plain(image[n], hole, abs, one_only) for image in (filled, real)]
        result = score(filled, real, mask)
        assert result["sharpness"][n].item() == pytest.approx(
            (energy[0] + 1 / 6) / (energy[1] + 1 / 6)
        )
        assert result["seam"][n].item() == pytest.approx((jump[0] + 1 / 3) / (jump[1] + 1 / 3))


# What the numbers mean


def test_psnr_of_the_hole_and_of_the_picture_differ_by_the_area():
    filled, real, mask = pictures()
    difference = metrics.psnr(filled, real) - metrics.psnr_hole(filled, real, mask)
    assert torch.allclose(difference, 10 * torch.log10(1 / area(mask)), atol=1e-9, rtol=0)
    centre = draw("center", range(6), 64)
    composite = torch.where(centre == 1, real.flip(0), real)
    difference = metrics.psnr(composite, real) - metrics.psnr_hole(composite, real, centre)
    assert difference.tolist() == pytest.approx([6.0206] * 6, abs=1e-4)


def test_identical_pictures_are_perfect():
    _, real, mask = pictures()
    result = score(real, real, mask)
    for key in ("hole_psnr", "psnr"):
        assert (result[key] == math.inf).all()
    for key in ("hole_ssim", "ssim", "sharpness", "seam"):
        assert torch.allclose(result[key], torch.ones(6, dtype=torch.float64), atol=1e-12)
    for key in ("hole_l1", "l1"):
        assert (result[key] == 0).all()


def test_black_against_white_is_as_bad_as_it_gets():
    result = score(flat(0), flat(255), box(slice(4, 12), slice(4, 12)))
    assert result["hole_psnr"].item() == result["psnr"].item() == 0
    assert result["hole_l1"].item() == result["l1"].item() == 1
    assert result["ssim"].item() == pytest.approx(0, abs=1e-3)


def test_differences_do_not_wrap_around():
    one, other = flat(3), flat(250)
    hole = box(slice(4, 12), slice(4, 12))
    assert metrics.l1(one, other).item() == metrics.l1(other, one).item() == 247 / 255
    assert metrics.psnr_hole(one, other, hole) == metrics.psnr_hole(other, one, hole)


@pytest.mark.parametrize("key", IN_THE_HOLE[::2])
def test_known_pixels_do_not_count_in_the_hole(key):
    filled, real, mask = pictures()
    changed = torch.where(mask.bool(), filled, filled.flip(0))
    function = METRICS[key].function
    assert torch.equal(function(filled, real, mask), function(changed, real, mask))


def test_ssim_in_a_hole_at_the_edge_falls_back_to_the_windows_that_touch_it():
    _, real, _ = pictures(count=2)
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, 0, :2, 30:34] = 1  # no window inside the picture is centred here
    mask[1, 0, 20:30, 20:30] = 1
    filled = torch.where(mask.bool(), 255 - real, real)
    result = metrics.ssim_hole(filled, real, mask)
    _, full = reference_ssim(filled[0], real[0], full=True)
    assert result[0].item() == pytest.approx(full[5:7, 25:39].mean(), abs=1e-9)
    _, full = reference_ssim(filled[1], real[1], full=True)
    assert result[1].item() == pytest.approx(full[20:30, 20:30].mean(), abs=1e-9)


def test_a_blurred_fill_is_less_sharp_and_a_noisy_one_sharper():
    _, real, mask = pictures()
    blurred = torch.nn.functional.avg_pool2d(real.float(), 5, 1, 2, count_include_pad=False)
    noisy = real + 40 * torch.randn(real.shape, generator=torch.Generator().manual_seed(3))
    fills = [torch.where(mask.bool(), x, real).clamp(0, 255).byte() for x in (blurred, noisy)]
    assert (metrics.sharpness(fills[0], real, mask) < 0.5).all()
    assert (metrics.sharpness(fills[1], real, mask) > 2).all()


def test_half_the_contrast_is_a_quarter_of_the_sharpness():
    real = flat(100)
    real[..., ::2] = 140
    filled = flat(110)
    filled[..., ::2] = 130
    sharp = metrics.sharpness(filled, real, box(slice(4, 12), slice(4, 12)))
    assert sharp.item() == pytest.approx(0.25, abs=1e-3)


def test_a_shifted_fill_shows_at_the_seam():
    _, real, mask = pictures()
    shifted = torch.where(mask.bool(), real.float() + 40, real.float()).clamp(0, 255).byte()
    assert (metrics.seam(shifted, real, mask) > 2).all()
    smooth = flat(100)
    step = torch.where(box(slice(4, 12), slice(4, 12)) == 1, 110, smooth).byte()
    seam = metrics.seam(step, smooth, box(slice(4, 12), slice(4, 12)))
    assert seam.item() == pytest.approx((10 + 1 / 3) / (1 / 3))


def test_ratios_stay_finite_where_there_is_nothing_to_compare():
    whole, dot = torch.ones(1, 1, 16, 16), box(3, 3)
    assert metrics.sharpness(flat(9), flat(9), whole).item() == 1
    assert metrics.sharpness(flat(9), flat(200), dot).item() == 1
    assert metrics.seam(flat(9), flat(200), whole).item() == 1


class Wide(TorchDispatchMode):
    """Notes the sizes of float64 results."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            self.largest = max(self.largest, found.numel())
        return found


@pytest.mark.parametrize("key", ["hole_psnr", "psnr", "hole_l1", "l1", "sharpness", "seam"])
@pytest.mark.parametrize("size", [64, 272])
def test_whole_numbers_need_no_maps_in_float64_and_are_as_exact(key, size):
    """Rows of 272 black pixels against white ones are longer than what float32 adds exactly."""
    torch.manual_seed(0)
    filled, real = torch.randint(0, 256, (2, 5, 3, size, size), dtype=torch.uint8).unbind(0)
    filled[0], real[0] = 0, 255
    mask = draw("brush", range(5), size)
    with Wide() as wide:
        found = METRICS[key].function(filled, real, mask)
    assert wide.largest <= 5 * 3 * size
    double = {"filled": filled.double(), "real": real.double(), "hole": mask.bool()}
    assert (found - in_float64(key, **double)).abs().max() < 1e-6


def in_float64(key, filled, real, hole):
    """The same from whole maps in float64."""
    apart = filled - real
    where = hole.expand_as(apart) if key.startswith("hole") else torch.ones_like(apart).bool()
    if key.endswith("l1"):
        return torch.stack([a[w].abs().mean() for a, w in zip(apart, where, strict=True)]) / 255
    if key.endswith("psnr"):
        errors = [a[w].square().mean() for a, w in zip(apart, where, strict=True)]
        return 10 * torch.log10(255**2 / torch.stack(errors))
    square = key == "sharpness"
    means = []
    for image in (filled, real):
        sums, count = 0, 0
        for axis in (3, 2):
            first, second = (
                hole.narrow(axis, 0, hole.shape[axis] - 1),
                hole.narrow(axis, 1, hole.shape[axis] - 1),
            )
            pairs = first & second if square else first ^ second
            jump = image.diff(dim=axis)
            jump = jump.square() if square else jump.abs()
            sums = sums + (jump * pairs).sum((1, 2, 3))
            count = count + 3 * pairs.sum((1, 2, 3))
        means.append(sums / count + (1 / 6 if square else 1 / 3))
    return means[0] / means[1]


def test_some_metrics_alone_are_those_of_all():
    filled, real, mask = pictures()
    every, some = score(filled, real, mask), score(filled, real, mask, ["l1", "hole_psnr"])
    assert list(some) == ["hole_psnr", "l1"]
    assert all(torch.equal(some[key], every[key]) for key in some)


def test_each_picture_is_scored_alone(monkeypatch):
    filled, real, mask = pictures(count=7)
    together = score(filled, real, mask)
    monkeypatch.setattr(pixel, "_CHUNK", 3)
    chunked = score(filled, real, mask)
    for key in METRICS:
        alone = torch.cat(
            [METRICS[key].function(*(x[i : i + 1] for x in (filled, real, mask))) for i in range(7)]
        )
        assert torch.allclose(together[key], alone, rtol=1e-12)
        assert torch.allclose(together[key], chunked[key], rtol=1e-12)


def test_score_gives_every_metric_as_one_float64_a_picture():
    filled, real, mask = pictures()
    result = score(filled, real, mask.bool())
    assert list(result) == list(METRICS)
    assert " ".join(METRICS) == "hole_psnr psnr hole_ssim ssim hole_l1 l1 sharpness seam"
    assert all(value.shape == (6,) and value.dtype == torch.float64 for value in result.values())


# Diversity


def test_diversity_is_the_mean_over_all_pairs():
    source = torch.Generator().manual_seed(4)
    samples = torch.randint(0, 256, (5, 3, 3, 16, 16), generator=source, dtype=torch.uint8)
    mask = draw("rect", range(3), 16)
    pairs = [(a, b) for a in range(5) for b in range(a)]
    expected = sum(metrics.l1_hole(samples[a], samples[b], mask) for a, b in pairs) / len(pairs)
    assert torch.allclose(diversity(samples, mask), expected, rtol=1e-12)


def test_equal_samples_have_no_diversity():
    _, real, mask = pictures()
    assert (diversity(real.expand(3, -1, -1, -1, -1), mask) == 0).all()


def test_diversity_needs_two_samples():
    _, real, mask = pictures()
    with pytest.raises(UsageError, match="at least two fills"):
        diversity(real[None], mask)


# What is refused


@pytest.mark.parametrize("key", [*METRICS])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, r, m: (f.float(), r, m), "filled pictures: torch.float32"),
        (lambda f, r, m: (f, r[:, :1], m), "real pictures: torch.uint8"),
        (lambda f, r, m: (f[:1], r, m), "must have the same shape"),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(key, change, message):
    filled, real, mask = change(*pictures())
    with pytest.raises(UsageError, match=message):
        METRICS[key].function(filled, real, mask)


@pytest.mark.parametrize("key", [*IN_THE_HOLE, "seam"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask * torch.arange(6).ne(2).view(6, 1, 1, 1), r"1 of 6 .* number 2"),
        (lambda mask: mask * 255, "other values than 0"),
        (lambda mask: mask[:2], r"these pictures need \[6, 1, 64, 64\]"),
        (lambda mask: mask.expand(-1, 3, -1, -1), "these pictures need"),
    ],
)
def test_masks_that_do_not_serve_are_refused(key, change, message):
    filled, real, mask = pictures()
    with pytest.raises(UsageError, match=message):
        METRICS[key].function(filled, real, change(mask))
    with pytest.raises(UsageError, match=message):
        score(filled, real, change(mask))


def test_ssim_of_pictures_smaller_than_its_window_is_refused():
    with pytest.raises(UsageError, match="10 x 10 pixels: its window needs at least 11 x 11"):
        metrics.ssim(flat(0, 10), flat(0, 10))


def test_a_new_metric_is_one_function_and_a_taken_key_is_refused(monkeypatch):
    monkeypatch.setattr(pixel, "_metrics", dict(pixel._metrics))
    monkeypatch.setattr(pixel, "METRICS", pixel._metrics)

    @pixel.metric("bias", "Bias", "", better="lower", digits=3)
    def bias(filled, real, mask):
        return (filled.double() - real.double()).mean((1, 2, 3))

    assert "bias" in score(*pictures())
    with pytest.raises(UsageError, match="taken by 'Bias'"):
        pixel.metric("bias", "Again", "", better="lower", digits=3)(bias)


# Sums over a set


def test_a_summary_gives_mean_and_standard_error():
    values = torch.randn(400, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    result = summary(values)
    assert result["mean"] == pytest.approx(values.numpy().mean())
    assert result["se"] == pytest.approx(values.numpy().std(ddof=1) / 20)
    assert result["n"] == 400


@pytest.mark.parametrize("values", [[1.0, math.inf], [math.nan], [math.inf, math.inf]])
def test_a_summary_of_infinite_values_has_no_mean_but_says_why(values):
    result = summary(torch.tensor(values))
    assert result["mean"] is None
    assert result["se"] is None
    assert "not finite" in result["note"]


def test_a_summary_of_one_value_has_no_standard_error_and_one_of_none_no_mean():
    assert summary(torch.tensor([2.0])) == {"mean": 2.0, "se": None, "n": 1}
    assert summary(torch.tensor([])) == {"mean": None, "se": None, "n": 0, "note": "no values"}
