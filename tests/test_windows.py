"""Which windows a model sees of a picture, and what is made of them."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from common import message

import gapfill
from gapfill.errors import UsageError
from gapfill.fill import painting, windows
from gapfill.fill.context import look
from gapfill.fill.painting import fill_any_size
from gapfill.fill.resampling import any_missing, enlarge, reduce
from gapfill.fill.windows import Box, plan, plan_one
from gapfill.inpainter import Inpainter

SIDE = 32
NOTHING = torch.zeros(3, 1, 1)  # a picture that is not looked at


class Seeing(Inpainter):
    """Fills with what it is told to, and keeps what it was shown."""

    @dataclass(frozen=True)
    class Config:
        """Settings."""

        size: int = SIDE

    def __init__(self, answer=lambda known: torch.zeros_like(known)):
        super().__init__(self.Config())
        self.answer, self.known, self.masks = answer, [], []

    def fill(self, known, mask):
        self.known += list(known)
        self.masks += list(mask)
        return self.answer(known)


def random_hole(seed, height=150, width=220):
    """Discs, strokes and single pixels."""
    import cv2

    rng = np.random.default_rng(seed)
    hole = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 4)):
        y, x, y2, x2 = rng.integers(0, [height, width, height, width]).tolist()
        cv2.line(hole, (x, y), (x2, y2), 1, int(rng.integers(1, 6)))
        cv2.circle(hole, (x2, y), int(rng.integers(1, 30)), 1, -1)
    hole[rng.random((height, width)) < 0.001] = 1
    return hole > 0


def marked(height, width, *boxes):
    hole = np.zeros((height, width), bool)
    for top, left, bottom, right in boxes:
        hole[top:bottom, left:right] = True
    return hole


def tensors(hole, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (1, 3, *hole.shape), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(hole.astype(np.float32))[None, None]


@pytest.mark.parametrize("cells", [4_000_000, 2_000])
@pytest.mark.parametrize("seed", range(6))
def test_every_missing_pixel_has_one_group_and_lies_in_one_of_its_windows(monkeypatch, seed, cells):
    monkeypatch.setattr(windows, "_CELLS", cells)
    hole = random_hole(seed)
    whole, found = Box(0, 0, *hole.shape), plan(hole, SIDE)
    assert (found.block > 1) == (cells < hole.size)
    times, seen = np.zeros(hole.shape, int), np.zeros(hole.shape, bool)
    for number, group in enumerate(found.groups, 1):
        mine = found.of(number, whole)
        assert group.box.cut(mine).sum() == mine.sum()
        times += mine
        for window in group.windows:
            assert window & whole == window
            assert min(window.height, window.width) >= SIDE
            window.cut(seen)[window.cut(mine)] = True
    assert np.array_equal(times, hole.astype(int))
    assert np.array_equal(seen, hole)


def test_a_hole_leaves_three_quarters_of_its_window_known():
    (group,) = plan(marked(1000, 1000, (300, 500, 400, 600)), SIDE).groups
    assert group.windows == (Box(250, 450, 200, 200),)


def test_a_window_is_never_smaller_than_what_the_model_knows():
    (group,) = plan(marked(100, 100, (50, 50, 53, 53)), SIDE).groups
    assert group.windows == (Box(35, 35, SIDE, SIDE),)


def test_in_a_picture_smaller_than_the_model_the_window_is_its_largest_square():
    (group,) = plan(marked(20, 30, (5, 5, 9, 9)), SIDE).groups
    assert group.windows == (Box(0, 0, 20, 20),)


def test_holes_near_one_another_share_a_window_and_distant_ones_do_not():
    near = marked(200, 200, (50, 50, 55, 55), (50, 60, 55, 65))
    far = marked(200, 200, (50, 50, 55, 55), (50, 90, 55, 95))
    assert len(plan(near, SIDE).groups) == 1
    assert len(plan(far, SIDE).groups) == 2


def test_a_long_wire_is_seen_in_tiles_at_its_own_scale():
    (group,) = plan(marked(300, 1000, (150, 0, 153, 1000)), SIDE).groups
    assert {(w.height, w.width) for w in group.windows} == {(SIDE, SIDE)}
    assert len(group.windows) < 2 * 1000 / (SIDE / 2)
    lefts = sorted(w.left for w in group.windows)
    assert max(b - a for a, b in pairwise(lefts)) <= SIDE // 2


def test_a_wire_that_ends_at_a_large_hole_keeps_its_scale():
    hole = marked(400, 1000, (100, 100, 220, 220), (150, 220, 153, 1000))
    large, wire = plan(hole, SIDE).groups
    assert [w.height for w in large.windows] == [pytest.approx(250, rel=0.1)]
    assert {w.height for w in wire.windows} == {SIDE}


def test_a_window_with_next_to_nothing_known_grows_to_the_whole_picture():
    (group,) = plan(marked(40, 300, (0, 50, 40, 250)), SIDE).groups
    assert Box(0, 0, 40, 300) in group.windows


def test_one_window_for_all_is_the_largest_square_around_them():
    hole = marked(100, 160, (10, 20, 20, 30), (70, 100, 80, 110))
    assert plan_one(hole).groups[0].windows == (Box(0, 15, 100, 100),)
    assert look(NOTHING, hole, SIDE, "whole").groups == plan_one(hole).groups
    assert look(NOTHING, hole, SIDE, "20,0,95").groups[0].windows == (Box(0, 20, 95, 95),)


def test_one_window_for_all_grows_where_next_to_nothing_is_known_in_it():
    hole = marked(100, 400, (0, 150, 99, 248))
    (window,) = plan_one(hole).groups[0].windows
    assert (window.height, window.width) == (100, 200)


def test_a_picture_of_one_row_whose_last_pixel_is_missing_is_planned():
    (group,) = plan(marked(1, 5, (0, 4, 1, 5)), SIDE).groups
    assert all(window.width > 1 for window in group.windows)


def test_a_share_chooses_how_much_is_seen():
    hole = marked(1000, 1000, (450, 450, 550, 550))
    assert look(NOTHING, hole, SIDE, "0.01").groups[0].windows == (Box(0, 0, 1000, 1000),)
    assert look(NOTHING, hole, SIDE, "0.04").groups[0].windows == (Box(250, 250, 500, 500),)
    assert look(NOTHING, hole, SIDE, "hole").groups == plan(hole, SIDE).groups


@pytest.mark.parametrize(
    "context", ["", "faces", "0", "1", "-0.5", "1,2", "1,2,0", "nan", "1,inf,3"]
)
def test_a_context_that_is_none_is_refused(context):
    with pytest.raises(UsageError) as caught:
        look(NOTHING, marked(50, 50, (1, 1, 5, 5)), SIDE, context)
    assert str(caught.value) == (
        "--context must be auto, hole, face, whole, a share such as 0.1, or a square as "
        f"LEFT,TOP,SIDE; got {context!r}."
    )


def test_a_square_must_lie_in_the_picture_and_hold_the_holes():
    hole = marked(50, 60, (10, 20, 15, 30))
    with pytest.raises(UsageError, match="the square leaves the picture of 60×50"):
        look(NOTHING, hole, SIDE, "20,0,51")
    with pytest.raises(UsageError, match="from 20,10 to 30,15"):
        look(NOTHING, hole, SIDE, "0,0,25")


@pytest.mark.parametrize(("height", "width"), [(90, 70), (16, 45), (32, 32)])
def test_a_window_is_reduced_as_torch_does_it(monkeypatch, height, width):
    monkeypatch.setattr("gapfill.fill.resampling._PIXELS", 1000)
    hole = marked(height, width, (5, 6, 12, 20))
    image, mask = tensors(hole)
    whole = Box(0, 0, height, width)
    small, share = reduce(image[0], hole, whole, SIDE, SIDE)
    both = torch.cat([image / 255 * (1 - mask), 1 - mask], 1)
    both = F.interpolate(both, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    expected = both[0, :3] / both[0, 3:].clamp_min(1e-6)
    torch.testing.assert_close(share, both[0, 3], rtol=0, atol=1e-5)
    where = share > 0.01
    torch.testing.assert_close(small[:, where], expected[:, where].clamp(0, 1), rtol=0, atol=1e-4)
    pooled = F.adaptive_max_pool2d(mask, SIDE)[0, 0] > 0
    assert np.array_equal(any_missing(hole, SIDE, SIDE), pooled.numpy())


@pytest.mark.parametrize("size", [(90, 70), (20, 45)])
def test_a_part_of_an_enlarged_picture_is_a_part_of_the_whole(size):
    made = torch.rand(3, SIDE, SIDE)
    window = Box(100, 200, *size)
    all_of_it = F.interpolate(made[None], size=size, mode="bicubic", antialias=True)[0]
    torch.testing.assert_close(enlarge(made, window, window), all_of_it, rtol=0, atol=1e-4)
    part = Box(103, 207, 9, 30)
    expected = all_of_it[:, 3:12, 7:37]
    torch.testing.assert_close(enlarge(made, window, part), expected, rtol=0, atol=1e-4)


def test_a_small_hole_in_a_large_picture_is_seen_pixel_by_pixel():
    hole = marked(500, 700, (100, 100, 105, 105), (400, 600, 404, 609))
    image, mask = tensors(hole)
    model = Seeing(lambda known: torch.full_like(known, 0.5))
    filled = fill_any_size(model, image, mask)
    assert len(model.known) == 2
    shown = ((model.known[0] + 1) * 127.5).round().byte()
    window = image[0, :, 86:118, 86:118]
    known = model.masks[0].expand_as(shown) == 0
    assert torch.equal(shown[known], window[known])
    assert (filled[mask.bool().expand_as(filled)] == 191).all()
    assert torch.equal(filled[~mask.bool().expand_as(filled)], image[~mask.bool().expand_as(image)])


@pytest.mark.parametrize("seed", range(4))
def test_every_hole_is_filled_and_the_rest_stays(seed):
    hole = random_hole(seed)
    image, mask = tensors(hole)
    model = Seeing(lambda known: torch.ones_like(known))
    filled = fill_any_size(model, image, mask, grain=False)
    marked = mask.bool().expand_as(image)
    assert torch.equal(filled[~marked], image[~marked])
    assert filled[marked].float().mean() > 250


def test_photos_are_filled_each_as_it_would_be_alone():
    holes = np.stack([random_hole(seed)[None] for seed in range(2)])
    masks = torch.from_numpy(holes)
    images = torch.cat([tensors(hole[0])[0] for hole in holes])
    model = gapfill.create("cnn", size=SIDE, width=4)
    model.trained = True
    filled = gapfill.fill_any_size(model, images, masks)
    for image, mask, made in zip(images, masks, filled, strict=True):
        alone = gapfill.fill_any_size(model, image[None], mask[None])
        assert torch.equal(alone[0], made)
    for dtype in (torch.float16, torch.float64):
        photos = images.to(dtype) / 255
        made = gapfill.fill_any_size(model, photos, masks[:1])
        assert made.dtype == dtype
        known = ~masks[:1].expand_as(photos)
        assert torch.equal(made[known], photos[known])
    grey = images[:, :1]
    made = gapfill.fill_any_size(model, grey, masks.float())
    assert made.shape == grey.shape
    assert torch.equal(made[~masks], grey[~masks])


def test_photos_that_cannot_be_filled_are_one_line():
    image, mask = tensors(random_hole(0))
    model = gapfill.create("cnn", size=SIDE, width=4)
    assert "has not been trained" in message(gapfill.fill_any_size, model, image, mask)
    model.trained = True
    for wrong, said in ((image[0], "images must be [N, 3, H, W]"), (image.int(), "got int32")):
        assert said in message(gapfill.fill_any_size, model, wrong, mask)
    assert "They must match." in message(gapfill.fill_any_size, model, image, mask[..., 1:])
    assert "empty" in message(gapfill.fill_any_size, model, image, 0 * mask)
    assert "--context must be" in message(gapfill.fill_any_size, model, image, mask, context="much")


def test_overlapping_tiles_meet_without_a_step():
    """A model whose fills differ from tile to tile by what it sees of the picture."""
    hole = marked(100, 400, (50, 0, 53, 400))
    image = torch.linspace(128, 255, 400).round().byte().expand(1, 3, 100, 400).clone()
    model = Seeing(lambda known: known.amax((1, 2, 3), keepdim=True).expand_as(known))
    filled = fill_any_size(model, image, torch.from_numpy(hole)[None, None])
    along = filled[0, 0, 51].int()
    assert (along.diff().abs() <= 2).all()
    assert along[-1] - along[0] > 100


def test_the_picture_is_painted_the_same_in_bands(monkeypatch):
    hole = random_hole(3)
    image, mask = tensors(hole)
    model = gapfill.create("cnn", size=SIDE, width=4)
    model.trained = True
    filled = fill_any_size(model, image, mask)
    assert any(w.height >= 1.25 * SIDE for g in plan(hole, SIDE).groups for w in g.windows)
    monkeypatch.setattr(painting, "_BAND", 2500)
    in_bands = fill_any_size(model, image, mask)
    assert (filled.int() - in_bands.int()).abs().max() <= 1  # a sum in another order


def test_a_picture_of_which_single_pixels_are_missing_is_filled_at_any_scale():
    hole = np.random.default_rng(0).random((130, 100)) < 0.8
    image, mask = tensors(hole)
    for context in ("hole", "whole"):
        model = Seeing()
        filled = fill_any_size(model, image, mask, context=context)
        assert torch.equal(filled[:, :, ~hole], image[:, :, ~hole])
        assert all(shown.mean() < 0.95 for shown in model.masks)


@pytest.mark.parametrize("name", ["telea", "biharmonic"])
def test_a_model_of_any_size_fills_a_window_as_it_fills_the_picture(name):
    hole = marked(150, 200, (40, 40, 48, 60), (100, 150, 103, 153))
    image, mask = tensors(hole)
    model = gapfill.create(name)
    around = torch.from_numpy(hole).expand_as(image[0])
    filled, expected = fill_any_size(model, image, mask)[0], model.inpaint(image, mask)[0]
    assert (filled.int() - expected.int())[around].abs().max() <= 1


def test_floats_are_filled_as_floats():
    hole = random_hole(1)
    image, mask = tensors(hole)
    model = gapfill.create("cnn", size=SIDE, width=4)
    model.trained = True
    bytes_, floats = (
        fill_any_size(model, picture, mask) for picture in (image, image.float() / 255)
    )
    assert floats.dtype == torch.float32
    assert (floats * 255 - bytes_).abs().max() <= 0.51


def smooth_with_noise(hole, sigma, seed=0):
    """A picture that gets brighter from left to right, with noise."""
    noise = np.random.default_rng(seed).normal(0, sigma, (3, *hole.shape))
    picture = np.linspace(90, 160, hole.shape[1]) + noise
    return torch.from_numpy(picture.round().clip(0, 255).astype(np.uint8))[None]


def test_an_enlarged_fill_gets_as_much_grain_as_there_is_around_it():
    hole = marked(200, 200, (60, 60, 130, 130))
    image, mask = smooth_with_noise(hole, 8), torch.from_numpy(hole)[None, None]
    model = Seeing()

    def roughness(grain):
        filled = fill_any_size(model, image, mask, grain=grain)[0].double()
        inside = filled[:, 70:120, 70:120]
        return (inside[..., 1:] - inside[..., :-1]).std().item() / 2**0.5

    assert roughness(grain=False) < 1
    assert roughness(grain=True) == pytest.approx(8, rel=0.3)


def test_where_nothing_around_has_grain_a_fill_gets_none():
    hole = marked(200, 200, (60, 60, 130, 130))
    image, mask = torch.full((1, 3, 200, 200), 77, dtype=torch.uint8), hole[None, None]
    plain, grained = (
        fill_any_size(Seeing(lambda x: 0 * x + 0.2), image, torch.from_numpy(mask), grain=grain)
        for grain in (False, True)
    )
    assert torch.equal(plain, grained)


def test_what_the_mask_hides_reaches_no_grain():
    hole = random_hole(2)
    hole[40:110, 60:150] = True
    image, mask = tensors(hole)
    other = torch.where(mask.bool(), 255 - image, image)
    one, two = (fill_any_size(Seeing(), picture, mask) for picture in (image, other))
    assert any(w.height >= 1.25 * SIDE for g in plan(hole, SIDE).groups for w in g.windows)
    assert torch.equal(one, two)
