import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gapfill import masks
from gapfill.errors import UsageError
from gapfill.masks import area, check, digest, draw, kinds, ring, uniform

KINDS = list(masks.KINDS)
GOLDEN = {
    "center": "0d3724d883af",
    "rect": "18bc4855d702",
    "half": "9c60ca26b694",
    "pixels": "3d18ce0aa503",
    "pattern": "5e1c5011874a",
    "brush": "fa4075ce884f",
}
RANDOM = [kind for kind in KINDS if kind != "center"]


def bounds(mask):
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


# Random numbers


def splitmix(state):
    state &= 2**64 - 1
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


@pytest.mark.parametrize("seed", [0, 1, -5, 2**63, 2**64 + 1])
def test_uniform_is_the_hash_that_plain_integers_give(seed):
    index = [0, 1, 77, 2**40]
    for row, i in zip(uniform(seed, torch.tensor(index), 5), index, strict=True):
        state = splitmix(splitmix(seed) + i)
        expected = [(splitmix(state + j * 0x9E3779B97F4A7C15) >> 40) / 2**24 for j in range(1, 6)]
        assert row.tolist() == expected


def test_uniform_is_uniform_and_uncorrelated():
    numbers = uniform(0, torch.arange(20_000), 4).double()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, bins=100, min=0, max=1)
    expected = numbers.numel() / 100
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 60 < chi_square < 150  # 99 degrees of freedom: beyond 3.5 standard deviations
    beside = torch.cat([numbers[:-1], numbers[1:], uniform(1, torch.arange(19_999), 4)], 1)
    correlation = torch.corrcoef(beside.T).fill_diagonal_(0)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_asking_for_more_numbers_keeps_the_first_ones():
    index = torch.arange(3)
    assert torch.equal(uniform(4, index, 9)[:, :2], uniform(4, index, 2))


# Every kind


@pytest.mark.parametrize("kind", [*KINDS, "rect+brush"])
@pytest.mark.parametrize("size", [8, 17, 64])
def test_masks_are_binary_with_missing_and_known_pixels(kind, size):
    drawn = draw(kind, range(200), size, seed=1)
    assert drawn.shape == (200, 1, size, size)
    assert drawn.dtype == torch.float32
    assert ((drawn == 0) | (drawn == 1)).all()
    assert area(drawn).min() > 0
    assert area(drawn).max() < 1


@pytest.mark.parametrize("kind", [*RANDOM, "rect+brush+half"])
@settings(max_examples=10, deadline=None)
@given(index=st.lists(st.integers(0, 2**40), min_size=1, max_size=4), seed=st.integers())
def test_a_mask_depends_on_its_own_index_and_the_seed_alone(kind, index, seed):
    together = draw(kind, index, 24, seed)
    for one, mask in zip(index, together, strict=True):
        assert torch.equal(draw(kind, one, 24, seed)[0], mask)


@pytest.mark.parametrize("kind", RANDOM)
def test_another_seed_and_another_index_give_other_masks(kind):
    drawn = draw(kind, range(32), 32)
    assert not torch.equal(drawn, draw(kind, range(32), 32, seed=1))
    assert len({digest(mask[None]) for mask in drawn}) >= (4 if kind == "half" else 30)


def test_the_masks_of_seed_0_never_change():
    # A change here makes every result measured before it incomparable.
    assert {kind: digest(draw(kind, range(32), 64))[:12] for kind in KINDS} == GOLDEN


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("kind", [*KINDS, "rect+brush"])
def test_a_gpu_draws_the_same_masks(kind, size):
    index = torch.arange(200)
    assert torch.equal(uniform(3, index, 9), uniform(3, index.cuda(), 9).cpu())
    drawn = draw(kind, index.cuda(), size, seed=3)
    assert drawn.is_cuda
    assert torch.equal(drawn.cpu(), draw(kind, index, size, seed=3))


@pytest.mark.parametrize("index", [range(3, 6), [3, 4, 5], torch.tensor([3, 4, 5])])
def test_an_index_may_be_a_range_a_list_or_a_tensor(index):
    assert torch.equal(draw("rect", index, 16), torch.cat([draw("rect", i, 16) for i in (3, 4, 5)]))


@pytest.mark.parametrize("kind", [*KINDS, "rect+brush"])
def test_no_index_gives_no_mask(kind):
    assert draw(kind, [], 16).shape == (0, 1, 16, 16)


# Each kind


def test_center_is_the_square_of_half_the_side():
    mask = draw("center", 0, 64)[0, 0]
    assert mask[16:48, 16:48].all()
    assert mask.sum() == 32 * 32


@pytest.mark.parametrize(("size", "shortest", "longest"), [(64, 16, 40), (32, 8, 20)])
def test_rect_is_one_full_rectangle_of_any_allowed_side_and_place(size, shortest, longest):
    sides, starts, ends = set(), set(), set()
    for mask in draw("rect", range(2000), size)[:, 0].bool():
        top, bottom, left, right = bounds(mask)
        assert mask.sum() == (bottom - top) * (right - left)
        sides |= {int(bottom - top), int(right - left)}
        starts |= {int(top), int(left)}
        ends |= {int(bottom), int(right)}
    assert sides == set(range(shortest, longest + 1))
    assert min(starts) == 0
    assert max(ends) == size


def test_half_takes_each_side_about_equally_often():
    drawn = draw("half", range(400), 64)[:, 0].bool()
    seen = [tuple(int(edge) for edge in bounds(mask)) for mask in drawn]
    halves = [(0, 32, 0, 64), (32, 64, 0, 64), (0, 64, 0, 32), (0, 64, 32, 64)]
    assert (area(drawn) == 0.5).all()
    assert all(70 < seen.count(one) < 130 for one in halves)


def test_pixels_takes_four_pixels_of_five():
    shares = area(draw("pixels", range(200), 64))
    assert shares.mean().item() == pytest.approx(0.8, abs=0.002)
    assert shares.std().item() == pytest.approx((0.8 * 0.2 / 4096) ** 0.5, rel=0.2)


def test_pattern_takes_a_quarter_in_smooth_blobs():
    drawn = draw("pattern", range(100), 64)
    assert (area(drawn) == 0.25).all()
    changes = drawn.diff(dim=2).abs().sum() + drawn.diff(dim=3).abs().sum()
    assert changes / 100 < 0.15 * 4096  # single pixels at this density would change about 1,500


def test_brush_takes_any_area_from_10_to_50_percent():
    shares = area(draw("brush", range(1000), 64))
    assert 0.0995 < shares.min() < 0.11
    assert 0.49 < shares.max() < 0.5005
    assert shares.mean().item() == pytest.approx(0.3, abs=0.012)


def test_brush_leaves_few_pieces_with_round_ends():
    # Strokes are connected: no picture falls into more pieces than it may have strokes.
    from skimage.measure import label

    pieces = [label(mask.numpy()).max() for mask in draw("brush", range(200), 64)[:, 0]]
    assert max(pieces) <= 5  # at most three strokes; the thinnest may break a pixel off
    assert np.mean(pieces) < 2


# Mixtures


def test_a_mixture_gives_each_picture_the_mask_of_one_of_its_kinds():
    mixed = draw("center+rect+half", range(300), 32, seed=2)
    alone = torch.stack([draw(kind, range(300), 32, seed=2) for kind in ("center", "rect", "half")])
    same = (alone == mixed).flatten(2).all(2)
    assert same.any(0).all()
    assert (same.sum(1) > 70).all()


def test_naming_a_kind_twice_doubles_its_share():
    centre = draw("center", range(600), 32)
    same = (draw("center+center+rect", range(600), 32) == centre).flatten(1).all(1)
    assert 360 < same.sum() < 440


# Words


@pytest.mark.parametrize("kind", ["centre", "rect+brusch", "", "rect+", "box", None, 3])
def test_an_unknown_kind_is_refused_with_the_list(kind):
    with pytest.raises(UsageError, match="unknown mask kind") as caught:
        check(kind)
    assert all(name in str(caught.value) for name in KINDS)


def test_an_unknown_kind_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"unknown mask kind 'brusch'; did you mean 'brush'\?"):
        draw("rect+brusch", 0, 16)


def test_a_size_too_small_for_the_kinds_is_refused():
    with pytest.raises(UsageError, match="size 7: the size must be at least 8"):
        draw("center", 0, 7)


@pytest.mark.parametrize("index", [torch.tensor([0.5]), [1.5], torch.zeros(2, 2, dtype=torch.long)])
def test_an_index_that_is_no_list_of_whole_numbers_is_refused(index):
    with pytest.raises(UsageError, match="whole numbers"):
        draw("rect", index, 16)


def test_a_new_kind_is_one_function(monkeypatch):
    monkeypatch.setattr(kinds, "_kinds", dict(kinds._kinds))
    monkeypatch.setattr(masks, "KINDS", kinds._kinds)

    @masks.mask_kind("row")
    def row(size, random):
        return (random(1)[:, :, None] * size).floor() == torch.arange(size)[:, None].expand(
            size, size
        )

    assert (area(draw("row", range(9), 16)) == 1 / 16).all()
    with pytest.raises(UsageError, match="taken"):
        masks.mask_kind("row")(row)


# Measures


def test_the_ring_is_what_the_hole_grows_into():
    mask = torch.zeros(2, 1, 12, 12)
    mask[0, 0, 5, 5] = 1
    mask[1, 0, 0, 0] = 1
    expected = torch.zeros(2, 1, 12, 12)
    expected[0, 0, 3:8, 3:8] = 1
    expected[1, 0, :3, :3] = 1
    assert torch.equal(ring(mask, 2), expected - mask)


def test_the_digest_tells_holes_apart_and_nothing_else():
    one = draw("rect", range(5), 32)
    assert digest(one) == digest(one.double()) == digest(one > 0)
    assert digest(one) != digest(one.flip(0))
    assert digest(one) != digest(one.view(5, 1, 64, 16))
    packed = b"5x1x32x32:" + np.packbits(one.numpy() > 0).tobytes()
    assert digest(one) == hashlib.sha256(packed).hexdigest()


def test_a_square_is_one_solid_square_and_nothing_else():
    holes = torch.zeros(6, 1, 16, 16)
    holes[0, :, 3:9, 5:11] = 1
    holes[1, :, 3:9, 5:12] = 1
    holes[2, :, 3:9, 5:11] = 1
    holes[2, :, 4, 6] = 0
    holes[3, :, 2:4, 2:4] = holes[3, :, 8:10, 8:10] = 1
    for rows in (slice(2, 4), slice(8, 10)):
        for columns in (slice(2, 4), slice(8, 10)):
            holes[4, :, rows, columns] = 1
    holes[5, :, 0, 15] = 1
    assert masks.square(holes).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("kind", ["center+rect", "pixels+pattern+brush+half", "rect+rect"])
def test_a_mixture_drawn_whole_and_chosen_from_is_the_one_drawn_apart(kind, monkeypatch):
    apart = draw(kind, range(50), 32, seed=4)
    monkeypatch.setattr(masks, "_pick", masks._select)
    assert torch.equal(draw(kind, range(50), 32, seed=4), apart)


def test_what_is_handed_as_a_kind_lies_where_it_is_drawn():
    bank = draw("rect", range(3), 32)
    handed = masks.Handed(bank)
    given = masks.placed(handed, {}, torch.device("cpu"))
    assert list(given) == [handed]
    assert torch.equal(draw(handed, range(6), 32, given=given), bank.repeat(2, 1, 1, 1))
