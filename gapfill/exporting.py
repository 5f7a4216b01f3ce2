"""A model as one graph, for programs without gapfill: ONNX, or what `torch.export` writes."""

from __future__ import annotations

import importlib.util
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gapfill import checkpoint
from gapfill._version import __version__
from gapfill.config import nearest, plain
from gapfill.errors import GapfillError, UsageError, one_line
from gapfill.inpainter import Inpainter
from gapfill.nets.padding import HALVED
from gapfill.reading.regular import expand

Format = Literal["onnx", "torch-export"]
NEEDED = ("onnx", "onnxscript", "onnxruntime")
CLOSE = 1e-4
"""How far a graph's fills may be from the model's, black to white = 1."""

Run = Callable[[Tensor, Tensor], Tensor]


class Graph(nn.Module):
    """What is exported: pictures and masks in, filled pictures out, known pixels pasted inside.

    Networks that only judge are left behind.

    Args:
        model: a trained one, whose fills need no noise.
    """

    def __init__(self, model: Inpainter) -> None:
        super().__init__()
        self.model = deepcopy(model).cpu().float().eval()
        for name in model.critics:
            setattr(self.model, name, nn.Identity())

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill float [N, 3, H, W] in [0, 1] where float [N, 1, H, W] is 1."""
        return self.model.paint(image, mask > 0.5)


def export(model: Inpainter, file: str | Path, form: Format = "onnx") -> str:
    """Write a model as one graph; return in words which pictures it takes.

    The inputs are `image`, float32 [N, 3, H, W] in [0, 1], and `mask`, float32 [N, 1, H, W], 1 =
    missing; the output is `filled`, of the shape of `image`. N is free; H and W are where the model
    takes several sizes and the graph does too. It is compared with the model before it is written.

    Args:
        model: a trained one.
        file: where the graph is written to.
        form: `onnx`, or `torch-export` for `torch.export.load`.

    Raises:
        UsageError: the model is no single graph or not trained, or a package is missing.
        GapfillError: the graph fills otherwise than the model, or the file cannot be written.
    """
    if form not in get_args(Format):
        raise UsageError(f"unknown format '{form}'. {nearest(form, get_args(Format))}")
    file = expand(file)
    checkpoint.check_file(file)
    require(model, form)
    graph, size = Graph(model), getattr(model.config, "size", 64)
    data, said = None, ""
    with _quiet():
        if model.multiple is not None:
            # A graph cannot choose to enlarge a picture: it is free where none has to be.
            for step in sorted({model.multiple, math.lcm(model.multiple, HALVED)}):
                data = _free(graph, form, size, step)
                said = f"sides that are multiples of {step}" if step > 1 else "any size"
                if data is not None:
                    break
        if data is None:
            data = _written(graph, form, size, {0: torch.export.Dim("batch")})
            _compare(graph, _runner(data, form), (size, size))
            said = f"{size}×{size} alone"
    checkpoint.write_named(file, data)
    return said


def require(model: Inpainter, form: Format) -> None:
    """Raise UsageError for a model that is no graph or not trained, or a missing package."""
    if model.no_graph:
        raise UsageError(f"'{model.name}' cannot be exported: {model.no_graph}.")
    if model.stochastic:
        raise UsageError(
            f"'{model.name}' cannot be exported: its fills are made of noise, which a graph of a "
            "picture and a mask has none of."
        )
    model.require_training()
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if form == "onnx" and lacking:
        raise UsageError(f"ONNX needs {', '.join(lacking)}: pip install {' '.join(NEEDED)}.")


def _free(graph: Graph, form: Format, size: int, step: int) -> bytes | None:
    """The graph for all sides that are multiples of `step`, or None where it is for one size."""
    dims: dict[int, Any] = {0: torch.export.Dim("batch")}
    for axis, name in ((2, "height"), (3, "width")):
        dims[axis] = step * torch.export.Dim(name, min=2)
    try:
        data = _written(graph, form, size, dims)
        for shape in ((size, size), (size + step, size + 2 * step)):
            _compare(graph, _runner(data, form), shape)
    except Exception:  # torch's and ONNX's are of many kinds, and all say the same here
        return None
    return data


def _written(graph: Graph, form: Format, size: int, dims: dict[int, Any]) -> bytes:
    """The file's content for these free dimensions."""
    example = _example(2, size, size)
    try:
        with torch.no_grad():
            program = torch.export.export(
                graph, example, dynamic_shapes={"image": dims, "mask": dict(dims)}
            )
        if form == "torch-export":
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            return buffer.getvalue()
        made = torch.onnx.export(program, output_names=["filled"], dynamo=True, verbose=False)
    except Exception as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise GapfillError(f"'{graph.model.name}' is no single graph: {reason[:200]}") from error
    assert made is not None
    proto = made.model_proto
    about = {"model": graph.model.name, "config": plain(graph.model.config), "gapfill": __version__}
    proto.metadata_props.add(key="gapfill", value=json.dumps(about))
    return proto.SerializeToString()


def _runner(data: bytes, form: Format) -> Run:
    """Runs what was written."""
    if form == "torch-export":
        module = torch.export.load(io.BytesIO(data)).module()
        return lambda image, mask: module(image, mask)
    import onnxruntime  # type: ignore[import-not-found]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda image, mask: torch.from_numpy(
        session.run(None, {"image": image.numpy(), "mask": mask.numpy()})[0]
    )


def _compare(graph: Graph, run: Run, shape: tuple[int, int]) -> None:
    """Raise GapfillError where the graph fills otherwise than the model."""
    for count in (1, 3):
        image, mask = _example(count, *shape)
        with torch.no_grad():
            difference = (run(image, mask) - graph(image, mask)).abs().max().item()
        if not difference <= CLOSE:
            raise GapfillError(
                f"the graph of '{graph.model.name}' fills otherwise than the model, by "
                f"{difference:.2g} of the range of colours: it was not written."
            )


def _example(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Pictures of noise with a hole in the middle."""
    image = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(count, 1, height, width)
    mask[..., height // 4 : -height // 4, width // 4 : -width // 4] = 1
    return image, mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside the block, what torch and ONNX's libraries warn of is not shown."""
    import logging

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
