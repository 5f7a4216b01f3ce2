"""Saved models on the Hugging Face Hub: fetched, and published with a page made from their card.

What lies there is what `Inpainter.save` writes, safetensors and JSON. `huggingface_hub` is imported
when it is used; its own settings hold, such as HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gapfill import checkpoint, summary
from gapfill.card import Card, read_card
from gapfill.errors import GapfillError, UsageError, one_line
from gapfill.reading.regular import expand, is_there, shortened

if TYPE_CHECKING:
    from gapfill.inpainter import Inpainter

FILES = ("config.json", "model.safetensors", "seen.safetensors")
"""All that is fetched; a page, README.md, is published with them."""

T = TypeVar("T")


def fetch(source: str | Path, revision: str | None = None) -> Path:
    """The folder of a saved model: a local one, or a copy of a repository in the Hub's cache.

    Args:
        source: a folder, or `user/name` where there is no such folder.
        revision: of the repository: a branch, a tag or a commit.

    Raises:
        UsageError: it is neither, or a revision of a folder.
        GapfillError: the repository cannot be had, or `huggingface_hub` is missing.
    """
    path = expand(source)
    if is_there(path):
        if revision is not None:
            raise UsageError(f"{shortened(source)} is a folder here, which has no revisions.")
        return path
    name = _repository(source)
    folder = _ask(
        f"cannot get {name} from the Hub",
        lambda hub: hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES)),
    )
    return Path(folder)


def publish(folder: Path, name: str, private: bool, message: str) -> str:
    """Upload a saved model and return the address of its page.

    Args:
        folder: what `save` wrote, with a README.md beside it.
        name: `user/name`; made where it is missing.
        private: whether a new repository is.
        message: of the commit.

    Raises:
        UsageError: a name that is none.
        GapfillError: it cannot be uploaded, or `huggingface_hub` is missing.
    """
    name = _repository(name)

    def upload(hub: Any) -> str:
        hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            folder_path=folder,
            commit_message=message,
            allow_patterns=[*FILES, "README.md"],
        )
        return f"{hub.constants.ENDPOINT}/{name}"

    return _ask(f"cannot publish {name} on the Hub", upload)


def page(model: Inpainter, folder: Path, name: str) -> str:
    """The README.md of a published model, made from what was saved in the folder."""
    card = read_card(folder)
    digest = checkpoint.digest_of(folder / "model.safetensors")
    facts = [f"- **{title}**: {value}" for title, value in summary.facts(model)]
    said = summary.line(type(model))
    return "\n".join(
        [
            "---",
            "library_name: gapfill",
            f"tags: [gapfill, inpainting, image-inpainting, {card.model}]",
            "---",
            "",
            f"# {name.partition('/')[2]}",
            "",
            f"A `{card.model}` of gapfill, which fills holes in pictures. {said}",
            "",
            "```python",
            "import gapfill",
            "",
            f'model = gapfill.Inpainter.from_pretrained("{name}")',
            "filled = model.inpaint(images, masks)  # RGB in [0, 1] or uint8; masks: 1 = missing",
            "```",
            "",
            *facts,
            *_origin(card),
            f"- **weights**: SHA-256 {digest}, saved by gapfill {card.gapfill}",
            "",
        ]
    )


def _origin(card: Card) -> list[str]:
    """Of what and from where, as far as the card says it."""
    lines = [f"- **data**: {card.data}"] if card.data else []
    if card.began:
        terms = f" ({card.began['data']})" if card.began.get("data") else ""
        lines.append(f"- **began with**: {card.began.get('name')}{terms}")
    if card.without:
        lines.append(f"- **without**: {', '.join(card.without)}, which a fill does not use")
    return lines


def _repository(name: str | Path) -> str:
    """A name that may be a repository's."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)):
        raise UsageError(
            f"there is no folder {shortened(name)}, and on the Hub models are called user/name."
        )
    return str(name)


def _ask(failed: str, call: Callable[[Any], T]) -> T:
    """The answer of a call of `huggingface_hub`, whose errors are of many libraries' kinds."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise GapfillError(f"{failed}: pip install huggingface-hub") from error
    try:
        return call(huggingface_hub)
    except Exception as error:
        reason = one_line(str(error).strip().splitlines()[0] if str(error).strip() else "")
        raise GapfillError(f"{failed} ({type(error).__name__}): {reason[:300]}") from error
