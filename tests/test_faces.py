import numpy as np
import pytest
import torch

from gapfill.data._face_traits import Dice, draw_traits
from gapfill.data.faces import generate
from gapfill.errors import UsageError


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return generate(200, seed=3)


def test_a_face_depends_on_its_seed_and_index_alone(faces):
    assert torch.equal(generate(10, seed=3)[7:9], generate(2, seed=3, start=7))
    assert torch.equal(generate(1, seed=3, start=131), faces[131:132])
    assert torch.equal(generate(70, seed=3, start=30), faces[30:100])


def test_the_thread_count_changes_nothing(faces):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        assert torch.equal(generate(60, seed=3), faces[:60])
    finally:
        torch.set_num_threads(before)


def test_other_seeds_and_indices_give_other_faces(faces):
    flat = faces.flatten(1).float()
    apart = torch.cdist(flat, flat) + torch.eye(len(flat)) * 1e9
    assert apart.min() > 500
    assert not torch.equal(generate(1, seed=4), faces[:1])


@pytest.mark.parametrize("size", [28, 48, 64, 97, 256])
def test_pictures_are_uint8_rgb_of_the_asked_size(size):
    few = generate(3, size=size)
    assert few.shape == (3, 3, size, size)
    assert few.dtype == torch.uint8
    assert few.float().std() > 30


def test_all_sizes_show_the_same_faces(faces):
    large = generate(24, size=128, seed=3).float()
    small = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - faces[:24].float()).abs().mean() < 8


def test_no_faces_are_an_empty_batch():
    assert generate(0).shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "count=-1"),
        ({"count": 1, "start": -5}, "start=-5"),
        ({"count": 1, "size": 16}, "sizes 28 to 256: got size=16"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        generate(**arguments)


def test_huge_and_negative_seeds_and_indices_work():
    assert torch.equal(generate(1, seed=2**64 - 1), generate(1, seed=-1))
    assert generate(2, seed=-7, start=10**12).float().std() > 30


def test_every_pixel_varies_across_faces(faces):
    assert faces.float().std(0).min() > 20


def test_brightness_and_colours_vary_but_are_not_clipped(faces):
    means = faces.float().mean((1, 2, 3))
    assert means.std() > 15
    assert ((faces == 0) | (faces == 255)).float().mean() < 0.05


def test_faces_are_nearly_but_not_quite_symmetric(faces):
    pictures = faces.float()
    change = (pictures - pictures.flip(3)).abs().mean((1, 2, 3))
    assert change.min() > 3
    others = (pictures - pictures.roll(1, 0).flip(3)).abs().mean((1, 2, 3))
    assert change.mean() < 0.6 * others.mean()


def test_the_mean_picture_is_a_face(faces):
    mean = faces.float().mean((0, 1))
    cheeks = torch.cat([mean[33:40, 18:24], mean[33:40, 40:46]]).mean()
    eyes = torch.cat([mean[26:30, 18:26], mean[26:30, 38:46]]).mean()
    assert eyes < cheeks - 12
    assert mean[46:50, 27:37].mean() < cheeks - 8  # mouth
    assert mean[40:43, 29:35].mean() < mean[35:38, 30:34].mean() - 12  # nostrils under the nose
    assert mean[12:18, 26:38].mean() > mean[0:5, 26:38].mean() + 15  # forehead under the hair


def test_skin_is_redder_than_it_is_blue(faces):
    red, _, blue = faces[:, :, 33:40, 20:44].float().mean((0, 2, 3))
    assert red > blue + 20


def test_the_hole_is_partly_told_by_what_surrounds_it(faces):
    pictures = faces.float().mean(1)
    forehead = pictures[:, 11:15, 26:38].mean((1, 2))
    cheeks = pictures[:, 35:41, 20:44].mean((1, 2))
    together = np.corrcoef(forehead, cheeks)[0, 1]
    assert 0.3 < together < 0.98


def test_eyes_are_drawn_sharply(faces):
    clear = faces[:, :, 24:32, 16:28].float().mean(1)
    steepest = (clear[:, 1:] - clear[:, :-1]).abs().amax((1, 2))
    assert steepest.median() > 35


def test_all_traits_are_single_precision():
    for name, value in vars(draw_traits(Dice(0, np.arange(5)))).items():
        assert value.dtype == np.float32, name
        assert len(value) == 5, name


def test_the_set_is_the_same_as_ever(faces):
    # Golden, with room for machines whose exp and sin differ in the last bit.
    np.testing.assert_allclose(faces.float().mean((0, 2, 3)), [115.549, 97.468, 86.000], atol=0.05)
    np.testing.assert_allclose(faces.float().std((0, 2, 3)), [65.583, 57.624, 54.296], atol=0.05)
    assert faces[1, :, 36, 32].tolist() == pytest.approx([149, 102, 73], abs=1)
