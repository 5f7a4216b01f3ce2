"""NaN and infinity at every place where a number comes in."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import torch

from tests.torture.harness import program, refused


def _spoil(weight: torch.Tensor, bad: float) -> None:
    """Put `bad` into one place of a weight."""
    weight[(0,) * weight.dim()] = bad


@program("NaN and infinity in pictures, weights and losses", short=16, long=300, share=1)
def no_numbers(chance: Random, folder: Path):
    """What is no number is refused or ends the run in one line, with finite weights left."""
    import gapfill
    from gapfill import checkpoint, testing
    from gapfill.data import Stream
    from gapfill.train import DivergedError

    number = 0
    while True:
        number += 1
        bad = chance.choice((math.nan, math.inf, -math.inf))
        name = chance.choice(("cnn", "gan", "wgan_gp"))
        fields = gapfill.registry.model_class(name).Config.__dataclass_fields__
        narrow = {"size": 32, "width": 4, "critic_width": 4}
        model = gapfill.create(name, **{key: narrow[key] for key in narrow if key in fields})
        images = testing.pictures(model, 8).float() / 255
        settings = {"steps": 4, "precision": "fp32", "device": "cpu", "quiet": True, "log_every": 1}
        place = chance.choice(("picture", "weight", "file", "hole"))
        failure: str | None = None
        if place == "picture":
            images[chance.randrange(8), 1, 3, 4] = bad
            failure = refused(lambda: model.fit(Stream(images, 4), **settings))  # noqa: B023
        elif place == "weight":
            parameters = list(model.parameters())
            with torch.no_grad():
                _spoil(chance.choice(parameters), bad)

            def fit(model=model, images=images, settings=settings) -> None:
                model.fit(Stream(images, 4), out=folder / f"run-{number}", **settings)  # noqa: B023

            failure = refused(fit, DivergedError)
        elif place == "file":
            testing.trained(model)
            with torch.no_grad():
                _spoil(next(model.parameters()), bad)
            target = folder / f"saved-{number}"
            tensors = model.state_dict()
            about = {"model": name, "config": vars(model.config), "training": None}
            about |= {"data": "", "gapfill": gapfill.__version__}
            checkpoint.save_weights(target / "model.safetensors", tensors, about)
            checkpoint.write_json(target / "config.json", about)
            loaded: list[object] = []
            failure = refused(lambda: loaded.append(gapfill.load(target)))  # noqa: B023
            if failure is None and loaded:
                failure = "weights that are no numbers were loaded"
        else:
            testing.trained(model)
            mask = testing.holes(model, 8)
            hidden = torch.where(mask.bool(), torch.tensor(bad), images)
            # What the mask hides is never looked at, so that it may be anything.
            filled = []
            failure = refused(lambda: filled.append(model.inpaint(hidden, mask)))  # noqa: B023
            if failure is None and filled and not filled[0].isfinite().all():
                failure = "the fill is no number"
        yield failure and f"{name}, {bad} in a {place}: {failure}"
