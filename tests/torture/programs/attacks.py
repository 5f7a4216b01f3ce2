"""Files made to run code or to write where they should not."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from random import Random

import torch
from PIL import Image

from tests.torture.harness import program, refused


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@program("files made to run code or to write outside", short=16, long=100, share=0.5)
def attacks(chance: Random, folder: Path):
    """Nothing that is read is executed, and nothing outside the folder is written."""
    import gapfill
    from gapfill import checkpoint, metrics
    from gapfill.data import open_table
    from gapfill.recipe import read_recipe

    canary = folder / "canary"

    def pickled() -> bytes:
        return pickle.dumps(_Touch(canary))

    def torch_file(path: Path) -> None:
        torch.save({"a": _Touch(canary)}, path)

    def weights(place: Path) -> None:
        (place / "config.json").write_text("{}", encoding="utf-8")
        (place / "model.safetensors").write_bytes(pickled())
        gapfill.load(place)

    def own_checkpoint(place: Path) -> None:
        checkpoint.save(place / "good.pt", {"a": 1})
        buffer = io.BytesIO()
        torch.save({"a": _Touch(canary)}, buffer)
        import hashlib

        body = buffer.getvalue()
        head = (place / "good.pt").read_bytes().partition(b"\n")[0] + b"\n"
        digest = hashlib.sha256(body).hexdigest().encode() + b"\n"
        (place / "bad.pt").write_bytes(head + digest + body)
        checkpoint.load(place / "bad.pt")

    def alexnet(place: Path) -> None:
        hub = place / "hub" / "checkpoints"
        hub.mkdir(parents=True)
        torch_file(hub / "alexnet-owt-7be5be79.pth")
        before = os.environ.get("TORCH_HOME")
        os.environ["TORCH_HOME"] = str(place)
        try:
            metrics.load_lpips("cpu")
        finally:
            os.environ.pop("TORCH_HOME")
            if before is not None:
                os.environ["TORCH_HOME"] = before

    def yaml(place: Path) -> None:
        text = f"model: !!python/object/apply:os.system ['touch {canary}']\n"
        (place / "r.yaml").write_text(text, encoding="utf-8")
        read_recipe(place / "r.yaml")

    def climbing_zip(place: Path) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32)).save(buffer, "PNG")
        with zipfile.ZipFile(place / "a.zip", "w") as file:
            for name in ("../../canary", f"/{canary}", "a/../../../canary.png", "fine.png"):
                file.writestr(name, buffer.getvalue())
        open_table(place / "a.zip", 16, cache=False)

    def hub_encoder(place: Path) -> None:
        gapfill.create("unet", encoder="hf-hub:someone/something")

    ways = (weights, own_checkpoint, alexnet, yaml, climbing_zip, hub_encoder)
    number = 0
    while True:
        number += 1
        place = folder / f"try-{number}" / "inside"
        place.mkdir(parents=True)
        way = chance.choice(ways)
        failure = refused(lambda: way(place))  # noqa: B023
        if canary.exists() or (place.parent / "canary").exists():
            failure = "it did what it was made to do"
        yield failure and f"{way.__name__}: {failure}"
