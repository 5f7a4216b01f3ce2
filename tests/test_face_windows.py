"""Holes in a face are filled from all of it, where scikit-image finds one."""

import importlib.util

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from gapfill.errors import UsageError
from gapfill.fill import faces
from gapfill.fill.context import look
from gapfill.fill.windows import Box, plan

SIDE = 64
# What training would crop: her eyes are 38 pixels apart, CelebA's 40 in a box of 128. A square
# that is a fifth larger or smaller shares two thirds with it.
FACE = Box(50, 160, 122, 122)


@pytest.fixture(scope="module")
def astronaut():
    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)


def marked(*boxes):
    hole = np.zeros((512, 512), bool)
    for top, left, height, width in boxes:
        hole[top : top + height, left : left + width] = True
    return hole


def overlap(one, two):
    both = one & two
    shared = both.height * both.width
    return shared / (one.height * one.width + two.height * two.width - shared)


def test_a_face_is_found_in_the_square_that_training_would_crop(astronaut):
    found = faces.squares(astronaut, marked())
    assert max(overlap(square, FACE) for square in found) > 0.65
    large = torch.from_numpy(cv2.resize(data.astronaut(), None, fx=3, fy=3)).permute(2, 0, 1)
    found = faces.squares(large / 255, np.zeros((1536, 1536), bool))
    tripled = Box(*(3 * length for length in (FACE.top, FACE.left, FACE.height, FACE.width)))
    assert max(overlap(square, tripled) for square in found) > 0.65


@pytest.mark.parametrize("context", ["auto", "face"])
def test_a_hole_in_a_face_is_seen_with_the_face_and_others_as_ever(astronaut, context):
    cheek, elsewhere = (110, 190, 20, 24), (300, 40, 30, 30)
    hole = marked(cheek, elsewhere)
    one, two = sorted(look(astronaut, hole, SIDE, context).groups, key=lambda g: g.box.top)
    assert one.box == Box(*cheek)
    assert overlap(one.windows[0], FACE) > 0.65
    assert two in plan(hole, SIDE).groups


def test_a_scratch_in_a_face_keeps_its_own_scale(astronaut):
    hole = marked((100, 190, 2, 60))
    assert look(astronaut, hole, SIDE, "face").groups == plan(hole, SIDE).groups


def test_no_face_is_looked_for_where_every_hole_would_keep_its_windows(astronaut, monkeypatch):
    monkeypatch.setattr(faces, "squares", lambda *_: pytest.fail("looked for"))
    hole = marked((100, 190, 1, 60), (0, 0, 1, 512))
    assert look(astronaut, hole, SIDE, "auto").groups == plan(hole, SIDE).groups


def test_what_a_hole_hides_has_no_say(astronaut):
    hole, other = marked((100, 190, 30, 30)), astronaut.clone()
    other[:, torch.from_numpy(hole)] = 255 - other[:, torch.from_numpy(hole)]
    assert faces.squares(astronaut, hole) == faces.squares(other, hole)


def test_without_a_face_auto_is_hole_and_face_is_refused(astronaut):
    hole = marked((300, 40, 30, 30))
    assert look(astronaut, hole, SIDE, "auto").groups == plan(hole, SIDE).groups
    with pytest.raises(UsageError, match="no hole lies in a face that was found"):
        look(astronaut, hole, SIDE, "face")


def test_without_scikit_image_auto_is_hole_and_face_says_how_to_get_it(astronaut, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    hole = marked((110, 190, 20, 24))
    assert look(astronaut, hole, SIDE, "auto").groups == plan(hole, SIDE).groups
    with pytest.raises(UsageError) as caught:
        look(astronaut, hole, SIDE, "face")
    assert str(caught.value) == (
        'faces are found by scikit-image: pip install "scikit-image>=0.24"'
    )


@pytest.mark.parametrize("shape", [(70, 100_000), (3000, 100), (65, 4000)])
def test_a_strip_too_narrow_for_a_face_in_the_copy_has_none(shape):
    hole = np.zeros(shape, bool)
    hole[20:40, 20:40] = True
    assert look(torch.zeros(3, *shape), hole, SIDE, "auto").groups == plan(hole, SIDE).groups


def test_where_next_to_nothing_is_known_no_face_is_looked_for(astronaut):
    large = astronaut.repeat(1, 3, 3)
    hole = np.random.default_rng(0).random(large.shape[1:]) < 0.95
    assert faces.squares(large, hole) == []
