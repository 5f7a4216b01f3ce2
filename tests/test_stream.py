import numpy as np
import pytest
import torch
from common import message, numbered
from torch.utils.data import DataLoader, TensorDataset

from gapfill import ranks
from gapfill.data import stream as stream_module
from gapfill.data.stream import (
    Replay,
    Stream,
    check_images,
    open_source,
    to_network,
)
from gapfill.errors import UsageError

CPU = torch.device("cpu")


def numbers(batch):
    return batch[:, 0, 0, batch.shape[-1] // 2].tolist()


def mirrored(batch):
    return (batch[:, 0, 0, -1] == 255).tolist()


def batches(count, size=4):
    """Uint8 batches that hold their own number."""
    return [torch.full((size, 3, 8, 8), number, dtype=torch.uint8) for number in range(count)]


def test_a_batch_depends_on_seed_and_step_alone():
    images = numbered(50)
    wanted = [Stream(images, 8, seed=3).batch(step) for step in range(20)]
    stream = Stream(images, 8, seed=3)
    for step in (19, 0, 7, 7, 6, 13, 1):
        torch.manual_seed(step)
        torch.rand(step)
        assert torch.equal(stream.batch(step), wanted[step])


def test_a_stream_leaves_the_random_numbers_of_torch_alone():
    before = torch.get_rng_state()
    Stream(numbered(9), 4).batch(5)
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_gives_another_order():
    images = numbered(64)
    one, other = (numbers(Stream(images, 64, seed).batch(0)) for seed in (0, 1))
    assert sorted(one) == sorted(other) == list(range(64))
    assert one != other


def test_an_epoch_covers_the_table_once_and_the_next_in_another_order():
    stream = Stream(numbered(40), 8)
    assert len(stream) == 5
    epochs = [
        [number for step in range(first, first + 5) for number in numbers(stream.batch(step))]
        for first in (0, 5)
    ]
    for seen in epochs:
        assert sorted(seen) == list(range(40))
    assert epochs[0] != epochs[1]
    assert epochs[0] != list(range(40))


def test_what_does_not_fill_a_batch_waits_for_another_epoch():
    stream = Stream(numbered(43), 8)
    assert len(stream) == 5
    first = {number for batch in stream for number in numbers(batch)}
    assert len(first) == 40
    later = {number for step in range(5, 25) for number in numbers(stream.batch(step))}
    assert later >= set(range(43)) - first


def test_a_stream_can_be_iterated_for_one_epoch():
    stream = Stream(numbered(16), 4)
    found = list(stream)
    assert len(found) == len(stream) == 4
    assert all(torch.equal(batch, stream.batch(step)) for step, batch in enumerate(found))


def test_a_table_smaller_than_a_batch_is_gone_through_several_times():
    stream = Stream(numbered(3), 8)
    assert len(stream) == 1
    seen = numbers(stream.batch(0))
    assert sorted(seen[:3]) == sorted(seen[3:6]) == [0, 1, 2]
    assert len(seen) == 8


def test_about_half_of_the_pictures_are_mirrored_and_not_always_the_same():
    stream = Stream(numbered(100), 100)
    shares = [np.mean(mirrored(stream.batch(step))) for step in range(20)]
    assert 0.46 < np.mean(shares) < 0.54
    by_number = [
        dict(zip(numbers(batch), mirrored(batch), strict=True))
        for batch in (stream.batch(0), stream.batch(1))
    ]
    assert by_number[0] != by_number[1]


def test_without_flip_every_picture_stays_as_it_is():
    stream = Stream(numbered(40), 8, flip=False)
    assert not any(flag for batch in stream for flag in mirrored(batch))


def test_mirroring_keeps_every_pixel():
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    for picture in Stream(images, 6).batch(0):
        assert any(
            torch.equal(picture, one) or torch.equal(picture, one.flip(-1)) for one in images
        )


def test_a_stream_of_no_pictures_is_refused():
    assert "images must be [N, 3, H, W]" in message(Stream, torch.zeros(0, 3, 8, 8))


@pytest.mark.parametrize("size", [0, -1])
def test_a_stream_refuses_a_batch_of_nothing(size):
    assert str(size) in message(Stream, numbered(8), size)


def test_replay_gives_a_list_of_tensors_again_and_again():
    replay = Replay(batches(3))
    assert len(replay) == 3
    assert [numbers(replay.batch(step))[0] for step in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_replay_takes_images_out_of_pairs_with_labels():
    labels = torch.zeros(4)
    for pair in (tuple, list):
        replay = Replay([pair((images, labels)) for images in batches(3)])
        assert [numbers(replay.batch(step))[0] for step in range(4)] == [0, 1, 2, 0]


def test_replay_reads_a_data_loader_of_images_and_labels():
    data = TensorDataset(numbered(12), torch.arange(12))
    replay = Replay(DataLoader(data, batch_size=4))
    assert len(replay) == 3
    seen = [numbers(replay.batch(step)) for step in range(6)]
    assert [number for batch in seen[:3] for number in batch] == list(range(12))
    assert seen[3:] == seen[:3]


def test_a_short_last_batch_is_left_out():
    replay = Replay(DataLoader(TensorDataset(numbered(10)), batch_size=4))
    sizes = [len(replay.batch(step)) for step in range(5)]
    assert sizes == [4] * 5
    assert {n for step in range(5) for n in numbers(replay.batch(step))} == set(range(8))


def test_one_pass_holds_the_short_batch_too():
    replay = Replay(DataLoader(TensorDataset(numbered(10)), batch_size=4))
    assert [len(images) for images in replay.epoch()] == [4, 4, 2]


def test_the_same_step_can_be_asked_for_twice_and_an_earlier_one_again():
    replay = Replay(batches(4))
    assert [numbers(replay.batch(step))[0] for step in (2, 2, 3, 0, 1, 6)] == [2, 2, 3, 0, 1, 2]


def test_an_iterator_can_be_read_once_and_says_so_when_it_runs_out():
    replay = Replay(iter(batches(3)))
    assert len(replay) == 0
    assert [numbers(replay.batch(step))[0] for step in range(3)] == [0, 1, 2]
    assert message(replay.batch, 3) == (
        "the loader ran out after 3 batches and is an iterator, which cannot be read again. "
        "Give a list or a DataLoader, or fewer steps."
    )


def test_a_generator_that_runs_out_says_so_too():
    replay = Replay(images for images in batches(2))
    assert "ran out after 2 batches" in message(replay.batch, 5)


def test_an_iterator_that_is_asked_to_go_back_gives_no_wrong_pictures():
    replay = Replay(iter(batches(5)))
    replay.batch(2)
    with pytest.raises(UsageError):
        replay.batch(0)


def test_a_loader_without_batches_says_so():
    assert message(Replay([]).batch, 0) == "the loader gave no image batches."


def test_what_cannot_be_iterated_is_refused():
    assert message(Replay, 5) == "fit takes an iterable of image batches, not int."


def test_a_loader_of_anything_else_says_what_came():
    assert "no pictures" in message(Replay([{"label": batches(1)[0]}]).batch, 0)
    assert "got str" in message(Replay(["faces"]).batch, 0)
    assert "got [3, 8, 8]" in message(Replay(list(batches(1)[0])).batch, 0)


def test_a_stream_is_its_own_source_and_anything_else_is_replayed():
    stream = Stream(numbered(8), 4)
    assert open_source(stream, CPU) is stream
    assert isinstance(open_source(batches(2), CPU), Replay)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        torch.rand(2, 3, 4, 4),
        torch.rand(1, 3, 4, 6).double(),
        torch.ones(2, 3, 4, 4).half(),
    ],
    ids=["uint8", "float32", "float64", "float16"],
)
def test_public_pictures_are_taken(images):
    check_images(images)


def test_pictures_in_another_range_are_refused_with_the_cure():
    images = torch.zeros(1, 3, 4, 4)
    images[..., 0], images[..., 1] = -1, 1
    text = message(check_images, images)
    assert text.startswith(
        "images must be uint8 or float in [0, 1]; got float32 with values −1.0 to 1.0. "
    )
    assert "(x + 1) / 2" in text
    assert message(check_images, (images + 1) * 127.5) == (
        "images must be uint8 or float in [0, 1]; got float32 with values 0.0 to 255.0. "
        "Divide by 255."
    )


def test_a_slight_overshoot_is_not_reported_as_a_range_that_is_allowed():
    text = message(check_images, torch.linspace(0, 1.02, 48).view(1, 3, 4, 4))
    assert "values 0.0 to 1.0." not in text


def test_numbers_that_are_none_are_refused():
    images = torch.rand(1, 3, 4, 4)
    images[0, 0, 0, 0] = float("nan")
    assert message(check_images, images) == (
        "images must be uint8 or float in [0, 1]; got float32 with 1 value NaN or infinite, the "
        "first in picture 0. Find out where that comes from, or give x.nan_to_num().clamp(0, 1)."
    )
    images[0, 1] = float("inf")
    assert "got float32 with 17 values NaN or infinite" in message(check_images, images)


IMAGENET = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("low", "high", "cure"),
    [
        (-2.12, 2.64, "leave that out, or undo it with x * std + mean."),
        (-0.42, 2.82, "leave that out, or undo it with x * std + mean."),
        (-2.1, 0.4, "leave that out, or undo it with x * std + mean."),
        (-1.0, 1.0, "Use (x + 1) / 2 if they are in [-1, 1]."),
        (-0.5, 0.5, "Use (x + 1) / 2 if they are in [-1, 1]."),
        (0.0, 254.0, "Divide by 255."),
        (0.0, 1.9, "Divide by the value that is white in them."),
        (3.0, 60000.0, "Divide by the value that is white in them, 65535 where they had 16 bits."),
        (-123.7, 151.1, "add it again and divide by 255."),
        (-0.02, 1.04, "Use x.clamp(0, 1) if they overshoot."),
    ],
)
def test_the_cure_is_for_the_range_that_came(low, high, cure):
    images = torch.linspace(low, high, 48).view(1, 3, 4, 4)
    assert message(check_images, images).endswith(cure)


def test_pictures_normalised_as_for_imagenet_are_not_told_to_divide_by_255():
    mean, std = (value.view(1, 3, 1, 1) for value in IMAGENET)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert "as for ImageNet" in message(check_images, (images - mean) / std)


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (None, "images must be a tensor [N, 3, H, W]; got NoneType."),
        (
            {"image": 1, "label": 2},
            "images must be a tensor [N, 3, H, W]; got dict. Its keys are image, label: give the "
            "pictures alone.",
        ),
        (
            [torch.zeros(3, 4, 4)],
            "images must be a tensor [N, 3, H, W]; got list. Use torch.stack(x).",
        ),
        (
            np.zeros((1, 3, 4, 4)),
            "images must be a tensor [N, 3, H, W]; got ndarray. Use torch.from_numpy(x).",
        ),
        (
            torch.zeros(3, 4, 4),
            "images must be [N, 3, H, W], RGB; got [3, 4, 4]. Use x[None] for a batch of one.",
        ),
        (
            torch.zeros(2, 4, 4, 3),
            "images must be [N, 3, H, W], RGB; got [2, 4, 4, 3]. Use x.permute(0, 3, 1, 2) for "
            "channels that come last.",
        ),
        (
            torch.zeros(2, 1, 4, 4),
            "images must be [N, 3, H, W], RGB; got [2, 1, 4, 4]. Use x.expand(-1, 3, -1, -1) for "
            "grey pictures.",
        ),
        (
            torch.zeros(0, 3, 4, 4),
            "images must be [N, 3, H, W], RGB; got [0, 3, 4, 4]. There is no picture in it.",
        ),
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.int64),
            "images must be uint8 or float in [0, 1]; got int64. Use x.float() or "
            "x.to(torch.uint8).",
        ),
        (
            torch.zeros(1, 3, 4, 4, dtype=torch.bool),
            "images must be uint8 or float in [0, 1]; got bool.",
        ),
    ],
)
def test_what_is_no_batch_of_pictures_says_what_came(images, text):
    assert message(check_images, images) == text


def test_networks_see_minus_one_to_one_whatever_came():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    seen = to_network(levels)
    assert seen.dtype == torch.float32
    assert (seen.min().item(), seen.max().item()) == (-1, 1)
    assert torch.equal(((seen + 1) * 127.5).round().byte(), levels)
    torch.testing.assert_close(to_network(levels.float() / 255), seen, atol=1e-6, rtol=0)
    assert to_network(levels.double() / 255).dtype == torch.float32


def test_a_block_is_its_steps_one_after_the_other_across_epochs():
    stream, again = Stream(numbered(20), 6, seed=3), Stream(numbered(20), 6, seed=3)
    assert stream.ahead > 7
    block = stream.block(1, 7)
    assert torch.equal(block, torch.cat([again.batch(step) for step in range(1, 8)]))


def test_replay_is_never_asked_for_more_than_a_step_needs():
    source = Replay(iter(batches(3)))
    assert source.ahead == 1
    assert torch.equal(source.block(0, 2), torch.cat(batches(2)))


def test_a_table_is_hashed_once_while_it_is_the_same(monkeypatch):
    taken = []
    sha256 = stream_module._sha256
    monkeypatch.setattr(stream_module, "_sha256", lambda x: taken.append(1) or sha256(x))
    stream = Stream(numbered(9), 4)
    first = stream.identity()
    assert stream.identity() == first
    open_source(stream, CPU)
    assert stream.identity() == first
    assert len(taken) == 1
    stream.images[0, 0, 0, 0] += 1
    changed = stream.identity()
    assert changed != first
    stream.images = numbered(9)
    assert stream.identity() == first
    assert len(taken) == 3


def test_a_table_that_moves_keeps_its_hash_and_takes_none_there():
    stream = Stream(numbered(9), 4)
    first = stream.identity()
    stream.move(torch.device("meta"))
    assert stream.identity() == first


def test_processes_that_met_after_a_stream_was_made_must_share_its_batches_evenly(monkeypatch):
    stream = Stream(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), 3)
    assert len(stream.block(0, 1)) == 3
    monkeypatch.setattr(ranks, "world", lambda: 2)
    assert message(stream.block, 0, 1) == "batch_size 3 cannot be shared by 2 processes evenly."
