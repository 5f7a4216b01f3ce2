"""Damaged files: none is taken for what it was, and none ends in a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import torch

from tests.torture.harness import mutated, program, refused


def _run_folder(folder: Path) -> Path:
    """A short run with everything that one leaves."""
    import gapfill
    from gapfill import testing
    from gapfill.data import Stream
    from gapfill.randomness import seeded

    with seeded(0):
        model = gapfill.create("cnn", size=32, width=4)
    _fit(model, folder)
    assert isinstance(Stream(testing.pictures(model, 8), 4), Stream)
    model.save(folder / "model")
    return folder


def _fit(model, folder: Path):
    from gapfill import testing
    from gapfill.data import Stream

    images = testing.pictures(model, 16)
    return model.fit(
        Stream(images, 4),
        out=folder,
        quiet=True,
        val=images[:4],
        steps=6,
        precision="fp32",
        device="cpu",
        log_every=2,
        watch=2,
        save_seconds=0.0,
        mask="rect",
    )


@program("damaged weights and model cards", short=60, long=1500, share=1)
def damaged_weights(chance: Random, folder: Path):
    """A damaged saved model is refused in one line."""
    import gapfill

    saved = _run_folder(folder / "run") / "model"
    good = gapfill.load(saved)
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    while True:
        name = chance.choice(sorted(files))
        data, what = mutated(files[name], chance)
        (saved / name).write_bytes(data)
        loaded = []
        failure = refused(lambda: loaded.append(gapfill.load(saved)))  # noqa: B023
        if failure is None and loaded and not _same(good, loaded[0]):
            failure = "accepted, with other weights"
        yield failure and f"{name}, {what}: {failure}"
        (saved / name).write_bytes(files[name])


def _same(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return one.config == other.config and all(torch.equal(a, b) for a, b in pairs)


@program("damaged run folders, resumed", short=16, long=1500, share=4)
def damaged_runs(chance: Random, folder: Path):
    """A run that is resumed from damaged files is refused, or ends with the weights it had."""
    import gapfill
    from gapfill.randomness import seeded

    kept = _run_folder(folder / "kept")
    expected = gapfill.load(kept / "model")
    number = 0
    while True:
        number += 1
        out = folder / "again"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(kept, out)
        shutil.rmtree(out / "model")
        names = sorted(p.name for p in out.iterdir() if p.is_file() and p.stat().st_size)
        if chance.random() < 0.5:  # as if it had been killed after the first checkpoint
            newest = sorted(out.glob("checkpoint-*"))[-1]
            newest.unlink()
            names.remove(newest.name)
        name = chance.choice(names)
        if chance.random() < 0.15:
            what = "deleted"
            (out / name).unlink()
        else:
            data, what = mutated((out / name).read_bytes(), chance)
            (out / name).write_bytes(data)
        made = []

        def again(out: Path = out, made: list = made) -> None:
            with seeded(0):
                model = gapfill.create("cnn", size=32, width=4)
            made.append(_fit(model, out))

        failure = refused(again)
        if failure is None and made and not _same(expected, made[0]):
            failure = "ended with other weights"
        yield failure and f"{name}, {what}: {failure}"


@program("damaged tables of pictures", short=30, long=500, share=1)
def damaged_tables(chance: Random, folder: Path):
    """A damaged table is built again, with the pictures it had."""
    import os

    from PIL import Image

    from gapfill.data import open_table
    from gapfill.data.faces import generate

    faces = folder / "faces"
    faces.mkdir()
    for number, face in enumerate(generate(12, 32)):
        Image.fromarray(face.permute(1, 2, 0).contiguous().numpy()).save(faces / f"{number}.png")
    home = os.environ.get("GAPFILL_HOME")
    os.environ["GAPFILL_HOME"] = str(folder / "home")
    try:
        good = open_table(faces, 32)
        (table,) = (path for path in (folder / "home").rglob("*") if path.stat().st_size > 30_000)
        whole = table.read_bytes()
        while True:
            data, what = mutated(whole, chance)
            table.write_bytes(data)
            found = []
            failure = refused(lambda: found.append(open_table(faces, 32)))  # noqa: B023
            if failure is None and found and not torch.equal(found[0].images, good.images):
                failure = "accepted, with other pictures"
            yield failure and f"{what}: {failure}"
    finally:
        if home is None:
            os.environ.pop("GAPFILL_HOME")
        else:
            os.environ["GAPFILL_HOME"] = home


@program("damaged recipes, lists of splits and settings", short=60, long=500, share=0.5)
def damaged_texts(chance: Random, folder: Path):
    """A text that is no recipe or no list is refused in one line, or means what it says."""
    from gapfill.console import parse_set
    from gapfill.data import open_table
    from gapfill.recipe import read_recipe

    recipe = (
        b"model: dcgan\nmask: rect+brush\nbatch_size: 32\nflip: false\n"
        b"settings:\n  width: 16\n  recipe: paper\ntrain:\n  steps: 10\n  seed: 3\n"
    )
    faces = folder / "faces"
    faces.mkdir()
    _few(faces)
    listed = b"".join(b"%d.png %d\n" % (number, number % 3) for number in range(9))
    values = (
        b"width=2e3",
        b"width=[1,2]",
        b"lr=2020-99-99",
        b"width={a: 1}",
        b"lr=1_0",
        b"a=!!int x",
    )
    while True:
        kind = chance.choice(("recipe", "list", "set"))
        if kind == "recipe":
            data, what = mutated(recipe, chance)
            (folder / "r.yaml").write_bytes(data)
            failure = refused(lambda: read_recipe(folder / "r.yaml"))
        elif kind == "list":
            data, what = mutated(listed, chance)
            (faces / "list_eval_partition.txt").write_bytes(data)
            failure = refused(lambda: open_table(faces, 16, cache=False))
        else:
            data, what = mutated(chance.choice(values), chance)
            text = data.decode("utf-8", "surrogateescape")
            failure = refused(lambda: parse_set([text]))  # noqa: B023
        yield failure and f"{kind}, {what}, {data[:80]!r}: {failure}"


@program("damaged results, pictures and logs, reported again", short=8, long=200, share=2)
def damaged_results(chance: Random, folder: Path):
    """A report of damaged files is refused, or says what did not fit; never another page."""
    import contextlib
    import io

    from gapfill import report
    from gapfill.compare import main as compare

    faces, out = folder / "faces", folder / "out"
    faces.mkdir()
    _few(faces, 30)
    words = f"--models cnn --data {faces} --size 32 --steps 4 --batch-size 4 --precision fp32 "
    with contextlib.redirect_stdout(io.StringIO()):
        assert compare([*words.split(), "--device", "cpu", "--quiet", "--out", str(out)]) == 0
    report.write(out)
    good = (out / "report.html").read_bytes()
    names = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.name in ("results.json", "pictures.npz", "scores.npz", "log.jsonl")
    )
    while True:
        name = chance.choice(names)
        whole = (out / name).read_bytes()
        data, what = mutated(whole, chance)
        (out / name).write_bytes(data)
        (out / "report.html").unlink(missing_ok=True)
        failure = refused(lambda: report.write(out))
        if failure is None and (out / "report.html").is_file():
            page = (out / "report.html").read_bytes()
            if page != good and b"damaged" not in page and b"does not" not in page:
                failure = "another page, which does not say why"
        yield failure and f"{name}, {what}: {failure}"
        (out / name).write_bytes(whole)


def _few(folder: Path, count: int = 9) -> None:
    from PIL import Image

    from gapfill.data.faces import generate

    for number, face in enumerate(generate(count, 32)):
        Image.fromarray(face.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{number}.png")


@program("model cards that are JSON and no card", short=40, long=300, share=0.3)
def strange_cards(chance: Random, folder: Path):
    """Whatever JSON stands for a card, a plan or a list is refused in one line."""
    import gapfill

    saved = _run_folder(folder / "run") / "model"
    card = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    deep: object = 1
    for _ in range(3000):
        deep = [deep]
    strange = [[], {}, None, 3, "text", True, float("1e308"), 10**400, {"model": []}, {"config": 1}]
    while True:
        if chance.random() < 0.5:
            value, text = "deep", "[" * 20_000 + "]" * 20_000
            if chance.random() < 0.8:
                value = chance.choice(strange)
                text = json.dumps(value) if value != 10**400 else "1" * 5000
        else:
            changed = dict(card)
            key = chance.choice(sorted(changed))
            changed[key] = value = chance.choice(strange[:8])
            text = json.dumps(changed)
        (saved / "config.json").write_text(text, encoding="utf-8")
        yield (failure := refused(lambda: gapfill.load(saved))) and f"{str(value)[:60]}: {failure}"
