"""Closing the seam: Poisson's equation in the hole alone."""

import pytest
import torch

from gapfill import masks, nets


@pytest.fixture
def pair():
    """A fill and the pictures around it, which do not match."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(4, 3, 24, 24, generator=generator) * 2 - 1 for _ in range(2)]


def solved(filled, known, mask):
    """The equation of one picture as a dense system in float64, one row for a missing pixel."""
    side = mask.shape[-1]
    places = mask[0].nonzero().tolist()
    index = {tuple(place): number for number, place in enumerate(places)}
    matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
    wanted = torch.zeros(len(places), 3, dtype=torch.float64)
    for (y, x), row in index.items():
        for ny, nx in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
            if not (0 <= ny < side and 0 <= nx < side):
                continue
            matrix[row, row] += 1
            wanted[row] += (filled[:, y, x] - filled[:, ny, nx]).double()
            if (ny, nx) in index:
                matrix[row, index[ny, nx]] -= 1
            else:
                wanted[row] += known[:, ny, nx].double()
    return torch.linalg.solve(matrix, wanted).T


@pytest.mark.parametrize("kind", ["center", "rect", "half", "pixels", "brush"])
def test_the_solver_finds_what_a_dense_solve_finds(kind, pair):
    filled, known = pair
    holes = masks.draw(kind, range(4), 24)
    found = nets.poisson_blend(filled, known, holes)
    for number in (0, 3):
        one = found[number][:, holes[number, 0].bool()]
        reference = solved(filled[number], known[number], holes[number])
        # The solver stops at a residual of float32's rounding; a wrong equation is off by 1e-2.
        assert (one - reference).abs().max() < 1e-4


def test_known_pixels_stay_bit_for_bit(pair):
    filled, known = pair
    holes = masks.draw("rect+brush", range(4), 24)
    found = nets.poisson_blend(filled, known, holes)
    outside = (holes == 0).expand_as(known)
    assert torch.equal(found[outside], known[outside])


def test_the_truth_under_the_mask_is_never_looked_at(pair):
    filled, known = pair
    holes = masks.draw("rect", range(4), 24)
    other = torch.where(holes.bool(), float("nan"), known)
    found = nets.poisson_blend(filled, known, holes)
    assert torch.equal(found, nets.poisson_blend(filled, other, holes))


def test_a_fill_of_another_brightness_is_shifted_back():
    ramp = torch.linspace(-0.5, 0.5, 24).expand(1, 3, 24, 24)
    holes = masks.draw("center", range(1), 24)
    torch.testing.assert_close(nets.poisson_blend(ramp + 0.3, ramp, holes), ramp)


def test_a_fill_that_meets_the_known_pixels_stays_as_it_is(pair):
    picture, holes = pair[0], masks.draw("half", range(4), 24)
    assert torch.equal(nets.poisson_blend(picture, picture, holes), picture)


def test_a_picture_is_blended_as_if_it_were_alone(pair):
    filled, known = pair
    holes = masks.draw("brush", range(4), 24)
    together = nets.poisson_blend(filled, known, holes)
    for number in range(4):
        one = slice(number, number + 1)
        alone = nets.poisson_blend(filled[one], known[one], holes[one])
        assert (alone - together[one]).abs().max() < 1e-5
