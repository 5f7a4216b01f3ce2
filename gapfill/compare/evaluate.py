"""Scores of a model on a set of pictures, what it costs, and how stable its training was."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gapfill import metrics
from gapfill._version import __version__
from gapfill.inpainter import Inpainter

LPIPS = {"key": "lpips", "title": "LPIPS", "unit": "", "better": "lower", "digits": 3}


def score(
    filled: Tensor,
    real: Tensor,
    masks: Tensor,
    perceptual: Callable[..., Tensor] | None,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Every metric of every picture, float64 [N] by the metric's key.

    Args:
        filled: uint8 [N, 3, H, W].
        real: uint8 [N, 3, H, W].
        masks: [N, 1, H, W], 1 = missing.
        perceptual: LPIPS, or None where its weights are not on this machine.
        device: where to compute; without it where the pictures are.
    """
    scores = metrics.score(filled, real, masks, device=device)
    if perceptual is not None:
        scores["lpips"] = perceptual(filled, real).double().cpu()
    return scores


def summarise(scores: Mapping[str, Tensor], reason: str = "") -> dict[str, Any]:
    """Mean, standard error and count of each metric; an empty column says why."""
    summary = {key: metrics.summary(values) for key, values in scores.items()}
    if "lpips" not in summary:
        summary["lpips"] = {"mean": None, "se": None, "n": 0, "reason": reason}
    return summary


def finite(value: float) -> float | None:
    """The value, or None for what JSON cannot hold."""
    return value if math.isfinite(value) else None


def columns(sets: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """What the results are columns of: every pixel metric, and after the first two LPIPS.

    Args:
        sets: the distances of sets, which follow LPIPS.
    """
    found = [
        {
            "key": metric.key,
            "title": metric.title,
            "unit": metric.unit,
            "better": metric.better,
            "digits": metric.digits,
        }
        for metric in metrics.METRICS.values()
    ]
    first = ("hole_psnr", "hole_ssim", "sharpness")
    found.sort(key=lambda column: first.index(column["key"]) if column["key"] in first else 9)
    return [*found[:2], LPIPS, *sets, *found[2:]]


def cost(model: Inpainter, image: Tensor, mask: Tensor, batch_size: int = 64) -> dict[str, Any]:
    """What a fill costs: median latency of one picture in ms, and pictures a second in batches.

    Args:
        model: a trained model.
        image: one picture, uint8 [1, 3, H, W].
        mask: its mask.
        batch_size: pictures in a batch for the throughput.
    """
    device = model.device
    one = (image.to(device), mask.to(device))
    many = tuple(tensor.expand(batch_size, -1, -1, -1).contiguous() for tensor in one)
    return {
        "latency_ms": round(1000 * _median_seconds(model, *one), 3),
        "throughput": round(batch_size / _median_seconds(model, *many), 1),
        "batch_size": batch_size,
        "device": device.type,
        "precision": "fp32",
    }


def _median_seconds(model: Inpainter, image: Tensor, mask: Tensor) -> float:
    """Median over at most 30 fills or a second and a half, after two that warm up.

    A fill that takes many seconds is made once.
    """
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 32 and time.perf_counter() - begin < (10 if len(times) < 5 else 1.5):
        start = time.perf_counter()
        model.inpaint(image, mask)
        if image.device.type == "cuda":
            torch.cuda.synchronize(image.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:] or times[-1:])


def count_parameters(model: Inpainter) -> int:
    """All weights, those of a discriminator included."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: Inpainter, size: int) -> int | None:
    """Multiplications with accumulation in one fill of a picture; None where nothing is counted.

    Work that a fill repeats is counted in one and in two iterations; the others cost the same.
    """
    if not model.iterated:
        return _count(model, size) or None
    config, total = model.config, getattr(model.config, model.iterated)
    try:
        counts: list[int] = []
        for few in (1, 2):
            model.config = replace(config, **{model.iterated: few})
            counts.append(_count(model, size))
    finally:
        model.config = config
    return counts[0] + (total - 1) * (counts[1] - counts[0]) or None


def _count(model: Inpainter, size: int) -> int:
    """Multiplications with accumulation in one fill as the model is set."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    known = torch.zeros(1, 3, size, size, device=model.device)
    mask = torch.zeros(1, 1, size, size, device=model.device)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    # The fused attention of a CPU has no formula; written out it is two products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _FlopCounter() as counter:
        model.fill(known, mask)
    return counter.total // 2


class _FlopCounter(TorchDispatchMode):
    """Counts by torch's formulas.

    torch's own counter also follows the modules, and its hooks fail where a module gets a tensor
    that a search differentiates by.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        super().__init__()
        self.formulas = FlopCounterMode(display=False).flop_registry
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=made)
        return made


def training_facts(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The critic's accuracy and the generator's loss over the last half of a run, mean and sd."""
    last = max((line["step"] for line in history), default=0)
    half = [line for line in history if line["step"] > last / 2]

    def spread(key: str) -> dict[str, float] | None:
        values = [line[key] for line in half if key in line]
        if not values:
            return None
        return {
            "mean": round(statistics.fmean(values), 5),
            "sd": round(statistics.pstdev(values), 5),
        }

    return {
        "critic_accuracy": spread("critic/report/accuracy"),
        "generator_loss": spread("generator/loss"),
    }


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions and machine, for whoever wants to repeat it."""
    import timm
    import torchvision

    return {
        "gapfill": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device.type,
        "device_name": _device_name(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123, not a file of anyone's
            names = [
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
