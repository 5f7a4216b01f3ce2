"""Models as one graph: the same numbers in onnxruntime, and what is refused."""

import importlib.util

import pytest
import torch
from common import message
from test_contract import SMALL
from torch import nn

import gapfill
from gapfill import exporting, testing
from gapfill.commands.main import main
from gapfill.errors import GapfillError
from gapfill.registry import model_class

TINY = SMALL | {"blocks": 1}
ONE_PASS = [
    name
    for name in gapfill.list_models()
    if not model_class(name).stochastic and not model_class(name).no_graph
]
OTHERS = sorted({*gapfill.list_models()} - {*ONE_PASS})

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in exporting.NEEDED),
    reason="ONNX is optional: pip install onnx onnxscript onnxruntime",
)
# Each takes seconds, and dcgan and cnn have the layers of these.
QUICK = [name for name in ONE_PASS if name not in ("lsgan", "wgan_gp", "context_encoder")]


def small(name):
    """The model at its smallest, with the fewest blocks."""
    fields = model_class(name).Config.__dataclass_fields__
    return gapfill.create(name, **{key: each for key, each in TINY.items() if key in fields})


def pictures(model, count, size):
    image = torch.rand(count, 3, size, size)
    return image, testing.masks.draw("brush", range(count), size, seed=1).float()


FIXED = {"gan", "lama", "mean", "nearest"}
"""Models whose graph takes one size alone, as docs/export.md says."""


@needs_onnx
@pytest.mark.parametrize("name", QUICK)
def test_onnxruntime_fills_the_same(name, tmp_path):
    import onnxruntime

    model = testing.trained(small(name))
    said = exporting.export(model, tmp_path / "x.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    assert [each.name for each in session.get_inputs()] == ["image", "mask"]
    assert [each.name for each in session.get_outputs()] == ["filled"]
    sizes = (32,) if said == "32×32 alone" else (32, 48)
    free = (f"multiples of {model.multiple}", "multiples of 16")
    assert said == "32×32 alone" or said.endswith(free)
    assert (said == "32×32 alone") == (name in FIXED)
    for size in sizes:
        image, mask = pictures(model, 3, size)
        (filled,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
        filled = torch.from_numpy(filled)
        assert (filled - model.inpaint(image, mask)).abs().max() <= 1e-4
        known = (mask == 0).expand_as(image)
        assert torch.equal(filled[known], image[known])


@pytest.mark.parametrize("name", ["gan", "pconv"])
def test_what_torch_exports_fills_the_same(name, tmp_path):
    model = testing.trained(small(name))
    said = exporting.export(model, tmp_path / "x.pt2", "torch-export")
    assert (said == "32×32 alone") == (name in FIXED)
    graph = torch.export.load(tmp_path / "x.pt2")
    assert not any("critic" in key for key in graph.state_dict)
    for size in (32,) if name in FIXED else (32, 48):
        image, mask = pictures(model, 5, size)
        torch.testing.assert_close(
            graph.module()(image, mask), model.inpaint(image, mask), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_single_graph_says_why(name, tmp_path):
    if model_class(name).lacking():
        pytest.skip(model_class(name).lacking())
    text = message(exporting.export, small(name), tmp_path / "x.onnx")
    assert text.startswith(f"'{name}' cannot be exported: ")
    assert not list(tmp_path.iterdir())


def test_what_export_needs_is_said(tmp_path, monkeypatch):
    model = small("cnn")
    text = message(exporting.export, model, tmp_path / "x", "torch-export")
    assert text.startswith("'cnn' has not been trained.")
    testing.trained(model)
    assert "unknown format 'tflite'." in message(exporting.export, model, tmp_path / "x", "tflite")
    monkeypatch.setattr(exporting, "NEEDED", ("onnx_of_tomorrow",))
    assert message(exporting.export, model, tmp_path / "x") == (
        "ONNX needs onnx_of_tomorrow: pip install onnx_of_tomorrow."
    )


def test_a_graph_that_fills_otherwise_is_not_written(tmp_path, monkeypatch):
    model = testing.trained(small("gan"))
    monkeypatch.setattr(exporting, "_runner", lambda *_: lambda image, mask: image)
    text = message(exporting.export, model, tmp_path / "x", "torch-export", error=GapfillError)
    assert "fills otherwise than the model" in text
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_the_graph_takes(tmp_path, capsys):
    testing.trained(small("gan")).save(tmp_path / "gan")
    words = ["--format", "torch-export", "--out", str(tmp_path / "gan.pt2")]
    assert main(["export", str(tmp_path / "gan"), *words]) == 0
    assert capsys.readouterr().err == (
        f"wrote {tmp_path / 'gan.pt2'}: any number of pictures, 32×32 alone\n"
    )


def test_a_model_learns_inside_another_module():
    torch.manual_seed(0)
    filler = testing.trained(small("unet")).train()
    whole = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 1))
    image, mask = pictures(filler, 2, 32)
    image.requires_grad_()
    whole(filler(image, mask)).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in filler.parameters())
    assert not image.grad[(mask == 1).expand_as(image)].any()
    assert image.grad[(mask == 0).expand_as(image)].all()
