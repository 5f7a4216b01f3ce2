"""What stands where on the page, and what happens at a click; in gradio, which is an extra."""

# No postponed annotations: gradio looks at those of the functions below.

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gapfill.errors import GapfillError
from gapfill.fill.kept import read_photo
from gapfill.fill.page import work
from gapfill.fill.page.examples import Example
from gapfill.fill.page.style import DOWNLOAD
from gapfill.fill.page.tools import Tool
from gapfill.fill.photo import Marking


@dataclass(frozen=True, eq=False)
class Bench:
    """What a visitor has on the page.

    Attributes:
        photo: the file of the photo that is painted on.
        before: the file of the photo as it is shown.
        hole: what was filled last.
        fills: what was made of it.
        how: how they were filled.
    """

    photo: Path | None = None
    before: Path | None = None
    hole: work.Hole | None = None
    fills: tuple[work.Fill, ...] = ()
    how: work.How = field(default_factory=work.How)


def build(tools: Sequence[Tool], examples: Sequence[Example], folder: Path) -> Any:
    """The page as gradio's `Blocks`.

    Args:
        tools: the models, prepared.
        examples: at least one picture to begin with; the first stands on the page from the start.
        folder: for what is shown and saved.
    """
    import gradio as gr  # type: ignore[import-not-found]

    names = [tool.name for tool in tools]
    varied = any(tool.model.stochastic for tool in tools)

    def wrong(error: GapfillError | OSError) -> str:
        return _error(work.said(error, folder))

    def drop(file: str, *rest: Any) -> Any:
        """A photo was dropped: the place for it is free for the next."""
        return [None, _CONTEXT, *show(Bench(Path(file)), *rest)]

    def take(number: int, *rest: Any) -> Any:
        """An example was chosen."""
        return [examples[number].context, *show(Bench(examples[number].path), *rest)]

    def show(bench: Bench, mask: str | None, *how: Any) -> Any:
        """The photo to paint on, and nothing filled yet."""
        bench = Bench(bench.photo)
        drawn, line = mark(bench, None, mask, *how)
        return [drawn, bench, [], gr.update(visible=False), None, "", line, 0]

    def mark(bench: Bench, drawn: Any, mask: str | None, *how: Any) -> Any:
        """The photo with what a mask file marks; what was painted stays."""
        if bench.photo is None:
            return [None, _note(_BEGIN)]
        line, seen = _note(_PAINT), None
        try:
            seen = work.look(bench.photo)
            seen = work.look(bench.photo, _path(mask), _how(*how).marking)
        except (GapfillError, OSError) as error:
            line = wrong(error)
        layers = (drawn or {}).get("layers") or []
        value = seen and {"background": seen, "layers": layers, "composite": None}
        return [gr.update(value=value, label=f"Paint here: {bench.photo.name}"), line]

    def option(bench: Bench, drawn: Any, mask: str | None, *how: Any) -> Any:
        """Another way to read the mask file, if there is one."""
        return [gr.skip(), gr.skip()] if mask is None else mark(bench, drawn, mask, *how)

    def fill(
        bench: Bench, drawn: Any, mask: str | None, chosen: list[str], *how: Any
    ) -> Iterator[Any]:
        """Fill with each chosen model, and show each fill as soon as it is there."""
        try:
            if bench.photo is None:
                raise GapfillError(_BEGIN)
            if not chosen:
                raise GapfillError("No model is chosen.")
            wanted, read = _how(*how), read_photo(bench.photo)
            hole = work.find_hole(read, bench.photo, _strokes(drawn), _path(mask), wanted.marking)
            before = work.keep(work.shown(read.picture()), folder)
            fresh = Bench(bench.photo, before, hole, how=wanted)
            mine = [tool for tool in tools if tool.name in chosen]
            yield from collect(fresh, work.fills(mine, read, hole, wanted, folder))
        except (GapfillError, OSError) as error:
            yield only(wrong(error))

    def more(bench: Bench, chosen: list[str]) -> Iterator[Any]:
        """As many fills again of the models that have several."""
        mine = [tool for tool in tools if tool.name in chosen and tool.model.stochastic]
        try:
            if bench.hole is None or not mine:
                raise GapfillError("None of the chosen models has more than one fill.")
            read = read_photo(bench.hole.photo)
            first = max((fill.number for fill in bench.fills), default=0)
            made = work.fills(mine, read, bench.hole, bench.how, folder, first)
            yield from collect(bench, made)
        except (GapfillError, OSError) as error:
            yield only(wrong(error))

    def only(line: str) -> list[Any]:
        """A line below the button, and everything else as it is."""
        return [*[gr.skip()] * 5, line, gr.skip()]

    def collect(bench: Bench, made: Iterator[work.Fill | GapfillError]) -> Iterator[Any]:
        """Add fills to the page one by one."""
        errors: list[str] = []
        for each in made:
            if isinstance(each, GapfillError):
                errors.append(work.said(each, folder))
            else:
                bench = replace(bench, fills=(*bench.fills, each))
                gallery = [(fill.shown, fill.caption) for fill in bench.fills]
                fresh = len(bench.fills) == 1
                shown = gr.update(visible=True) if fresh else gr.skip()
                compared, first = (compare(bench, 0), 0) if fresh else (gr.skip(), gr.skip())
                yield [bench, gallery, shown, compared, "", _filled(bench, errors), first]
        yield only(_filled(bench, errors))

    def choose(bench: Bench, event: gr.SelectData) -> Any:
        """Compare another fill; those that are still being made go on to be added."""
        number = int(event.index)
        if number >= len(bench.fills):  # shown, but the click came before the state that has it
            return [gr.skip()] * 3
        return [number, compare(bench, number), ""]

    def compare(bench: Bench, number: int) -> Any:
        fill = bench.fills[number]
        label = f"Before and after: {fill.caption}"
        return gr.update(value=(str(bench.before), str(fill.shown)), label=label)

    def save(bench: Bench, number: int) -> Any:
        """Write the chosen fill as the photo is."""
        try:
            if bench.hole is None or number >= len(bench.fills):
                raise GapfillError("There is nothing to save yet: fill first.")
            file, lost = work.save(bench.hole, bench.fills[number], folder)
        except (GapfillError, OSError) as error:
            return [None, wrong(error)]
        kept = f" Not kept: {'; '.join(lost)}." if lost else ""
        return [str(file), _note(f"Saved as {file.name}.{kept}")]

    with gr.Blocks(title="gapfill", analytics_enabled=False) as page:
        bench, compared = gr.State(Bench(examples[0].path)), gr.State(0)
        gr.Markdown("# gapfill\nPaint over a part of a picture, and let several models fill it.")
        with gr.Row():
            photo = gr.File(label="Picture", height=132, min_width=280, elem_id="photo")
            with gr.Column(min_width=280):
                thumbs = gr.Dataset(
                    components=[gr.Image(render=False)],
                    samples=[[str(example.path)] for example in examples],
                    type="index",
                    label="Examples",
                    elem_id="examples",
                )
        with gr.Row():
            with gr.Column(scale=3, min_width=280):
                editor = gr.ImageEditor(
                    label="Paint here",
                    type="pil",
                    format="png",
                    sources=(),
                    transforms=(),
                    layers=False,
                    buttons=[],
                    height=520,
                    brush=gr.Brush(colors=[_BRUSH], color_mode="fixed", default_size=40),
                    elem_id="editor",
                )
            with gr.Column(scale=2, min_width=280):
                chosen = gr.CheckboxGroup(names, value=names, label="Models", elem_id="models")
                with gr.Accordion("Mask file and options", open=False):
                    mask = gr.File(label="Mask file: white = missing", height=96, elem_id="mask")
                    invert = gr.Checkbox(label="Black is missing in the mask file")
                    resize = gr.Checkbox(label="Bring a mask file of another size to the picture's")
                    grown = gr.Number(0, label="Widen the holes, in pixels", precision=0, minimum=0)
                    context = gr.Dropdown(
                        ["auto", "hole", "face", "whole", "0.1"],
                        value=examples[0].context,
                        label="What a model sees: one of these, a share, or LEFT,TOP,SIDE",
                        allow_custom_value=True,
                        elem_id="context",
                    )
                    grain = gr.Checkbox(True, label="Give enlarged fills the grain around them")
                    seed = gr.Number(0, label="Seed", precision=0)
                go = gr.Button("Fill", variant="primary", elem_id="fill")
                message = gr.HTML(
                    _note(_BEGIN), padding=False, elem_id="message", elem_classes="line"
                )
        with gr.Column(visible=False) as results:
            gr.Markdown("### Fills\nClick one to compare and to save it.")
            gallery = gr.Gallery(
                label="Fills",
                show_label=False,
                object_fit="contain",
                allow_preview=False,
                buttons=[],
                elem_id="fills",
            )
            again = gr.Button(f"{work.FILLS} more fills", visible=varied, elem_id="more")
            slider = gr.ImageSlider(
                label="Before and after", type="filepath", buttons=["fullscreen"], elem_id="slider"
            )
            keep = gr.Button("Save this fill", elem_id="save")
            note = gr.HTML(padding=False, elem_id="note", elem_classes="line")
            saved = gr.File(visible=False)

        how = [invert, grown, resize, context, grain, seed]
        shown = [bench, gallery, results, slider, note, message, compared]
        options: dict[str, Any] = {"api_visibility": "private"}
        one: dict[str, Any] = {**options, "concurrency_id": "fill", "concurrency_limit": 1}
        filling = [
            go.click(fill, [bench, editor, mask, chosen, *how], shown, **one),
            again.click(more, [bench, chosen], shown, **one),
        ]
        new: dict[str, Any] = {**options, "cancels": filling}
        photo.upload(drop, [photo, mask, *how], [photo, context, editor, *shown], **new)
        thumbs.click(take, [thumbs, mask, *how], [context, editor, *shown], **new)
        marks = [bench, editor, mask, *how], [editor, message]
        mask.change(mark, *marks, **options)
        for each in (invert, grown, resize):
            each.change(option, *marks, **options)
        page.load(show, [bench, mask, *how], [editor, *shown], **options)
        gallery.select(choose, bench, [compared, slider, note], **options)
        keep.click(save, [bench, compared], [saved, note], **options).then(None, saved, js=DOWNLOAD)
    return page


_CONTEXT = "auto"  # of a picture that is dropped
_BRUSH = ("#e11d48", 0.6)
_BEGIN = "Drop a picture, or choose an example."
_PAINT = "Paint over what is missing, then fill."


def _strokes(drawn: Any) -> np.ndarray | None:
    """What was painted, bool [h, w]: wherever a layer of the editor is not transparent."""
    found = None
    for layer in (drawn or {}).get("layers") or []:
        alpha = np.asarray(layer.convert("RGBA"))[..., 3] > 0
        found = alpha if found is None else found | alpha
    return found


def _how(
    invert: bool,
    grown: float | None,
    resize: bool,
    context: str | None,
    grain: bool,
    seed: float | None,
) -> work.How:
    marking = Marking(invert, int(grown or 0), resize)
    return work.How(marking, str(context or _CONTEXT).strip(), grain, int(seed or 0))


def _path(file: str | None) -> Path | None:
    return None if file is None else Path(file)


def _filled(bench: Bench, errors: Sequence[str]) -> str:
    """How much was filled, and what went wrong."""
    lines = [_error(line) for line in dict.fromkeys(errors)]
    if bench.hole is not None and bench.fills:
        height, width = bench.hole.missing.shape
        share = f"{100 * bench.hole.share:.2g}"
        lines.append(_note(f"{width:,}×{height:,} pixels, {share} % missing."))
    return "".join(lines)


def _note(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _error(line: str) -> str:
    return f'<p class="error" role="alert">{html.escape(line)}</p>'
