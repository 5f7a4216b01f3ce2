"""The prepared filler: `inpaint`'s pictures, faster, and known pixels as they came."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

import gapfill
from gapfill import Filler, masks, testing
from gapfill.compute import CaptureError
from gapfill.errors import UsageError
from gapfill.fill import prepared

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return testing.trained(gapfill.create("dcgan", size=32, width=8, critic_width=4))


@pytest.fixture
def given():
    torch.manual_seed(1)
    image = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    return image, masks.draw("rect", range(6), 32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_in_float32_a_filler_gives_what_inpaint_gives(model, given, dtype):
    image, mask = given
    image = image if dtype == torch.uint8 else image / 255
    fast = Filler(model, 32, batch_size=6, dtype=dtype, precision="fp32")
    assert torch.equal(fast(image, mask), model.inpaint(image, mask))
    assert torch.equal(fast(image, mask[:1]), model.inpaint(image, mask[:1]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_in_half_precision_known_pixels_stay_bit_for_bit(model, given, dtype):
    image, mask = given
    image = image if dtype == torch.uint8 else image / 255
    filled = Filler(model, 32, batch_size=6, dtype=dtype, precision="bf16")(image, mask)
    known = (mask == 0).expand_as(image)
    assert torch.equal(filled[known], image[known])
    exact = model.inpaint(image, mask)
    scale = 255 if dtype == torch.uint8 else 1
    apart = (filled.float() - exact.float())[~known].abs() / scale
    # bf16 keeps eight bits, 0.004 of a value, and a dozen layers add up; a wrong one is off by 0.2.
    assert apart.mean() < 0.02
    assert dtype == torch.uint8 or apart.max() > 0


def test_a_compiled_filler_gives_the_same(model, given, monkeypatch):
    monkeypatch.setattr(prepared.torch, "compile", partial(torch.compile, backend="aot_eager"))
    compiled = Filler(model, 32, batch_size=6, precision="fp32", mode="compile")
    apart = compiled(*given).float() - model.inpaint(*given).float()
    assert apart.abs().max() <= 1  # rounding in float32 may tip a level over


def test_what_was_not_promised_is_refused(model, given):
    image, mask = given
    fast = Filler(model, 32, batch_size=6)
    wanted = r"takes \[6, 3, 32, 32\] torch.uint8, or fewer pictures; got \[7, "
    with pytest.raises(UsageError, match=wanted):
        fast(image[[0, 1, 2, 3, 4, 5, 5]], mask)
    with pytest.raises(UsageError, match=wanted.replace("7", "0")):
        fast(image[:0], mask[:0])
    with pytest.raises(UsageError, match=r"got .* torch.float32"):
        fast(image / 255, mask)
    with pytest.raises(UsageError, match=r"mask must be \[6, 1, 32, 32\]; got \[2, 1, 32, 32\]"):
        fast(image, mask[:2])


def test_a_last_batch_may_be_short(model, given):
    image, mask = given
    fast = Filler(model, 32, batch_size=6, precision="fp32")
    whole = fast(image, mask)
    assert (fast(image[:4], mask[:4]).float() - whole[:4].float()).abs().max() <= 1
    assert fast(image[:1], mask[:1]).shape == (1, 3, 32, 32)
    assert torch.equal(fast(image[:4], mask[:1]), fast(image, mask[:1])[:4])


def test_what_cannot_work_is_refused_at_once(model):
    with pytest.raises(UsageError, match="has not been trained"):
        Filler(gapfill.create("cnn"), 64)
    with pytest.raises(UsageError, match="multiples of 4"):
        Filler(model, 42)
    with pytest.raises(UsageError, match="mode 'graph' needs a model on a CUDA device"):
        Filler(model, 32, mode="graph")


def test_a_fill_that_cannot_be_captured_is_called(model, monkeypatch, caplog):
    fast = Filler(model, 32, batch_size=6, precision="fp32")
    monkeypatch.setattr(fast, "device", torch.device("cuda"))

    def fail():
        raise CaptureError("operation not permitted when stream is capturing")

    monkeypatch.setattr(fast, "_captured", fail)
    with caplog.at_level("INFO", logger="gapfill"):
        assert fast._best()[0] == "eager"
    assert [record.message for record in caplog.records] == [
        "dcgan: no CUDA graph of its fill (operation not permitted when stream is capturing); "
        "filling by calls"
    ]
    with pytest.raises(UsageError, match=r"mode 'graph' asked, .*\. Use mode='eager'\."):
        fast._asked()


def test_a_graph_keeps_the_weights_that_it_reads(given, monkeypatch):
    """With a stand-in for the graph: what is replayed reads memory, not the model."""
    torch.manual_seed(0)
    model = testing.trained(gapfill.create("cnn", size=32, width=4))
    fast = Filler(model, 32, batch_size=6, precision="fp32")
    monkeypatch.setattr(prepared, "aside", lambda stream: nullcontext())
    monkeypatch.setattr(prepared, "capture", lambda call, stream: (call(), lambda: None))
    monkeypatch.setattr(prepared.torch.cuda, "Stream", lambda device: None)
    fast._paint = fast._captured()
    tensors = [*model.parameters(), *model.buffers()]
    storages = [StorageWeakRef(tensor.untyped_storage()) for tensor in tensors]
    del tensors
    model.to(torch.float64)
    assert not any(storage.expired() for storage in storages if storage.cdata)


def test_a_model_that_moved_needs_a_new_filler(given):
    model = testing.trained(gapfill.create("cnn", size=32, width=4))
    fast = Filler(model, 32, batch_size=6)
    model.to("meta")
    with pytest.raises(UsageError, match=r"was on cpu when .* is on meta now\. Make a new filler"):
        fast(*given)


@needs_gpu
@pytest.mark.parametrize("mode", ["eager", "compile", "graph"])
def test_on_a_gpu_every_mode_fills_alike_and_keeps_what_is_known(model, given, mode):
    image, mask = (tensor.cuda() for tensor in given)
    there = model.to("cuda")
    exact = there.inpaint(image, mask)
    filled = Filler(there, 32, batch_size=6, precision="fp32", mode=mode)(image, mask)
    again = Filler(there, 32, batch_size=6, precision="bf16", mode=mode)(image, mask)
    model.to("cpu")
    known = (mask == 0).expand_as(image)
    assert (filled.float() - exact.float()).abs().max() <= 2
    assert torch.equal(again[known], image[known])
