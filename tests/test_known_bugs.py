"""Bugs that other projects shipped, and that no test of one module would find.

More of them stand where their parts are tested: labels and margins in test_losses.py, composites
in test_critics.py, the seam in test_blend.py, the search in test_semantic.py, a flow's last step in
test_flow.py, SSIM's range in test_metrics.py, averaged weights' buffers in test_trainer.py, the
optimisers' state in test_resume.py.
"""

import pytest
import torch
from PIL import Image
from torch import nn

import gapfill
from gapfill import masks
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import Stream
from gapfill.registry import model_class

SMALL = {"size": 32, "width": 4, "critic_width": 4}


def small(name):
    fields = model_class(name).Config.__dataclass_fields__
    return gapfill.create(name, **{key: SMALL[key] for key in SMALL if key in fields})


@pytest.mark.parametrize("name", gapfill.list_models())
def test_no_batchnorm_has_a_momentum_for_its_epsilon(name):
    for part in small(name).modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.eps <= 1e-3
            assert part.momentum == pytest.approx(0.1)


def test_the_pictures_of_a_training_batch_have_a_hole_each():
    faces = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    batches = MaskedBatches(Stream(faces, batch_size=8), "rect", 0, torch.device("cpu"))
    holes = batches(0).mask
    assert len({hole.numpy().tobytes() for hole in holes}) > 4
    assert not torch.equal(holes, batches(1).mask)


def test_a_mask_picture_of_another_size_stays_black_and_white(tmp_path):
    large = torch.zeros(50, 50, dtype=torch.uint8)
    large[7:31, 13:40] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(large.numpy()).save(path)
    hole = masks.draw(f"file:{path}", range(1), 32)
    assert set(hole.unique().tolist()) == {0.0, 1.0}
