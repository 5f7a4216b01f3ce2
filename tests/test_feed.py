"""Training batches: what a step sees depends on its number alone."""

import torch
from common import message, numbered
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gapfill import masks
from gapfill.data import feed
from gapfill.data.feed import MaskedBatches
from gapfill.data.stream import Replay, Stream, picture_numbers, to_network
from gapfill.masks import kinds

CPU = torch.device("cpu")


def test_a_masked_batch_hides_what_the_mask_marks():
    images = torch.randint(1, 256, (12, 3, 32, 32), dtype=torch.uint8)
    batch = MaskedBatches(Stream(images, 6, flip=False), "rect+brush", 0, CPU)(1)
    hidden = batch.mask.bool().expand_as(batch.image)
    assert batch.mask.shape == (6, 1, 32, 32)
    assert set(batch.mask.unique().tolist()) == {0, 1}
    assert (batch.known[hidden] == 0).all()
    assert torch.equal(batch.known[~hidden], batch.image[~hidden])
    assert (batch.image[hidden] != 0).any()
    made = batch.paste(torch.ones_like(batch.image))
    assert (made[hidden] == 1).all()
    assert torch.equal(made[~hidden], batch.image[~hidden])


def test_masks_depend_on_seed_and_step_alone_and_differ_within_a_batch():
    def drawn(step, seed=0):
        return MaskedBatches(Stream(numbered(16, 32), 8), "rect", seed, CPU)(step).mask

    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(6))
    assert not torch.equal(drawn(5), drawn(5, seed=1))
    assert len(torch.unique(drawn(5), dim=0)) > 1


def test_float_and_uint8_pictures_give_the_same_batch():
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    one, other = (
        MaskedBatches(Replay([given]), "center", 0, CPU)(0) for given in (images, images / 255)
    )
    torch.testing.assert_close(one.image, other.image, atol=1e-6, rtol=0)
    assert torch.equal(one.mask, other.mask)


def test_an_unknown_kind_of_mask_is_refused_before_any_picture_is_read():
    def loader():
        raise AssertionError("a picture was read")
        yield

    assert "'centre'" in message(MaskedBatches, Replay(loader()), "centre", 0, CPU)


def test_no_two_pictures_of_a_run_share_a_number():
    seen = torch.cat([picture_numbers(first, 2, 5, CPU) for first in (0, 2)])
    assert seen.tolist() == list(range(20))


def test_a_mask_is_drawn_for_the_number_of_its_picture():
    source = Stream(numbered(16, 32), 4)
    batch = MaskedBatches(source, "rect", 0, CPU)
    assert source.ahead > 1
    wanted = masks.draw("rect", torch.arange(8, 12), 32, batch.seed)
    assert torch.equal(batch(2).mask, wanted)


def test_what_a_step_shares_is_made_once():
    batch = MaskedBatches(Stream(numbered(4, 32), 4), "center", 0, CPU)(0)
    made = []
    for _ in range(2):
        batch.once("thing", lambda: made.append(1) or len(made))
    assert made == [1]
    assert batch.once("thing", lambda: 5) == 1


def test_a_step_sees_the_same_whichever_step_came_before():
    def batches():
        return MaskedBatches(Stream(numbered(50, 16), 512, seed=1), "rect+pixels", 2, CPU)

    forwards, alone = batches(), batches()
    seen = [forwards(step) for step in range(5)]
    for step in (4, 0, 3):
        again = alone(step)
        assert torch.equal(again.image, seen[step].image)
        assert torch.equal(again.mask, seen[step].mask)


def test_the_pictures_are_the_sources_in_the_networks_range():
    stream = Stream(numbered(50, 16), 8, seed=1)
    batch = MaskedBatches(stream, "center", 0, CPU)(37)
    assert torch.equal(batch.image, to_network(stream.batch(37)))


class Waits(TorchDispatchMode):
    """Names the operators that wait for a GPU: what reads from it, and what brings it pages."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        came = [each.device.type for each in tree_leaves((args, kwargs)) if is_map(each)]
        left = [each.device.type for each in tree_leaves(result) if is_map(each)]
        brought = "cpu" in came and "cuda" in (*came[:1], *left) and "copy" in name
        if (kwargs or {}).get("non_blocking"):
            brought = brought and not getattr(args[0], "is_in_pinned_memory", False)
        read = name.removeprefix("aten::") in ("nonzero", "_local_scalar_dense", "item")
        if brought or read or ("cuda" in came and "cpu" in left):
            self.names.append(name)
        return result


def is_map(value):
    """Whether it is a tensor, and no number that PyTorch made one of."""
    return isinstance(value, torch.Tensor) and value.ndim > 0


def pinned(tensor):
    """Stands in for the copy in pinned memory, which tensors without memory have none of."""
    tensor.is_in_pinned_memory = True
    return tensor


def test_a_gpus_batches_are_made_without_waiting_for_it(monkeypatch, tmp_path):
    Image.fromarray((masks.draw("rect", 0, 32)[0, 0] * 255).byte().numpy()).save(tmp_path / "a.png")
    kind = f"rect+pixels+pattern+brush+half+center+file:{tmp_path / 'a.png'}"
    cuda = torch.device("cuda")
    stream = Stream(numbered(40, 32), 8)  # five steps an epoch, and blocks of many
    monkeypatch.setattr(
        feed, "_Upload", lambda source, device, count: lambda first: source.block(first, 4)
    )
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    batches, given = MaskedBatches(stream, kind, 0, CPU), masks.banks(kind, 32)
    kinds._spline.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            stream.images = torch.empty(40, 3, 32, 32, dtype=torch.uint8, device=cuda)
            batches.device, batches._count = cuda, 4
            batches._given = masks.placed(kind, given, cuda)
            waits = []
            for step in range(20):
                with Waits() as called:
                    batch = batches(step)
                waits.append(called.names)
            assert batch.image.device.type == batch.mask.device.type == "cuda"
    finally:
        kinds._spline.cache_clear()  # whose tensors are none
    assert len(waits[0]) == 1  # a table of weights
    assert not any(waits[1:])
