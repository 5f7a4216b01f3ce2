"""Command lines that nobody meant, and names that nobody gives."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path
from random import Random

from PIL import Image

from tests.torture.harness import program

_WORDS = (
    *("--models", "--data", "--mask", "--masks", "--size", "--steps", "--epochs", "--budget"),
    *("--seed", "--seeds", "--device", "--precision", "--mode", "--batch-size", "--set", "--out"),
    *("--json", "--quiet", "--crop", "--extra", "--test", "--debug", "--log", "--invert-mask"),
    *("cnn", "telea", "nope", "*", "paper", "", "-", "--", "-1", "0", "1", "1e309", "nan", "32"),
    *("999999999999999999999", "1s", "0.5h", "x" * 300, "ü", "\udcff", "\x00", "a\nb", "~", "."),
    *(
        "center",
        "rect+brush",
        "file:nowhere",
        "center+",
        "cpu",
        "cuda:99",
        "mps",
        "bf16",
        "width=4",
    ),
    *(
        "width=[[[",
        "lr=!!int x",
        "lr=2020-99-99",
        "=",
        "a=b=c",
        "celeba",
        "/dev/null",
        "data",
        "%s",
    ),
    *(
        "a.png",
        "b.png",
        "pictures:nowhere",
        "cnn:lr=1",
        "unet@pretrained",
        "?",
        "[",
        "${HOME}",
        "😀",
    ),
)
_COMMANDS = (
    "list",
    "fit",
    "compare",
    "fill",
    "doctor",
    "report",
    "bank",
    "score",
    "card",
    "export",
)


@program("command lines drawn at random", short=40, long=500, share=2)
def command_lines(chance: Random, folder: Path):
    """Whatever the words: an exit code of 0, 1 or 2 and no traceback."""
    from gapfill.commands.main import main

    here = Path.cwd()
    os.chdir(folder)
    (folder / "data").mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (60 * number, 9, 9)).save(folder / "data" / f"{number}.png")
    Image.new("RGB", (40, 40), "red").save(folder / "a.png")
    hole = Image.new("L", (40, 40))
    hole.paste(255, (10, 10, 20, 20))
    hole.save(folder / "b.png")
    starts = (
        ["fill", "telea", "a.png", "b.png", "--out", "c.png"],
        ["fit", "cnn", "--data", "data", "--size", "32", "--steps", "1", "--out", "run"],
        ["compare", "--models", "telea", "--data", "data", "--size", "32", "--out", "cmp"],
        ["list"],
        ["doctor"],
    )
    try:
        while True:
            words = list(chance.choice(starts)) if chance.random() < 0.7 else []
            if not words:
                words = [chance.choice(_COMMANDS)]
            for _ in range(chance.randint(1, 3)):
                place = chance.randint(1, len(words))
                if chance.random() < 0.4 and place < len(words):
                    words[place] = chance.choice(_WORDS)
                else:
                    words[place:place] = [chance.choice(_WORDS)]
            words = [w for w in words if w != "--debug"]
            if words[0] in ("fit", "compare") and not {"--steps"} & set(words):
                words += ["--steps", "1"]
            yield _broke(main, words)
    finally:
        os.chdir(here)


def _broke(main, words: list[str]) -> str | None:
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main(words)
    except SystemExit as ended:
        code = ended.code
    except BaseException as problem:
        return f"{words}: {type(problem).__name__}: {str(problem)[:200]}"
    if code not in (0, 1, 2):
        return f"{words}: exit code {code}"
    if "Traceback" in error.getvalue():
        return f"{words}: a traceback"
    return None


_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "& < > \" '",
    "a\nb",
    "\u202etxt.exe",
    "ü é 漢字 😀",
    "\udcff",
    "x" * 200,
    "' OR 1=1 --",
    "$(touch canary)",
    "`touch canary`",
)


@program("hostile names in the report", short=4, long=40, share=1)
def hostile_names(chance: Random, folder: Path):
    """A picture's or model's name is text on the page, whatever it says."""
    from gapfill import report
    from gapfill.compare import main as compare
    from gapfill.data.faces import generate

    number = 0
    while True:
        number += 1
        name = chance.choice(_NAMES).replace("/", "∕")
        place = folder / f"{number}"
        faces = place / (name[:80] if chance.random() < 0.5 else "faces")
        faces.mkdir(parents=True)
        for count, face in enumerate(generate(30, 32)):
            picture = Image.fromarray(face.permute(1, 2, 0).contiguous().numpy())
            picture.save(faces / f"{name[:60]}{count}.png")
        words = ["--models", "telea", "--data", str(faces), "--size", "32", "--quiet"]
        words += ["--steps", "1", "--device", "cpu", "--out", str(place / "out")]
        failure = _broke(compare, words)
        if failure is None:
            page = place / "out" / "report.html"
            if not page.is_file():
                failure = "no page"
            else:
                report.write(place / "out")
                text = page.read_text(encoding="utf-8")
                if re.search(r"<script>alert|<img src=x|>49<", text):
                    failure = "a name became markup"
        yield failure and f"{name!r}: {failure}"
