"""The one interface: what every inpainter has, and the two methods that make one."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gapfill import checkpoint, fitting, hub, identity, summary
from gapfill._version import __version__
from gapfill.about import About
from gapfill.card import leaving_out
from gapfill.compute import true_float32
from gapfill.config import plain
from gapfill.data.checks import as_grey, as_rgb
from gapfill.data.seen import Seen
from gapfill.data.stream import check_images, to_network
from gapfill.errors import UsageError
from gapfill.masks.given import check_mask
from gapfill.randomness import filling, keys, mix, seeded
from gapfill.reading.regular import expand
from gapfill.types import Batch, Look, Update

_PIXELS = 2**20  # that are filled together: 256 pictures of 64×64


class Inpainter(nn.Module, ABC):
    """Fills what a mask hides. A model supplies `Config`, `fill` and, if it learns, `updates`.

    Pictures are RGB, [N, 3, H, W], uint8 or float in [0, 1]; masks are [N, 1, H, W], 1 = missing.
    Networks see [-1, 1]; only this class converts.
    """

    name: ClassVar[str] = "unregistered"
    """The registered name; `register` sets it."""
    Config: ClassVar[type]
    """A frozen dataclass: every setting of the model and its default, in one place."""
    about: ClassVar[About] = About()
    """Where the method comes from and what it is for."""
    exemptions: ClassVar[Mapping[str, str]] = {}
    """Checks of `gapfill.testing` that this model cannot pass, with the reason."""
    stochastic: ClassVar[bool] = False
    """Whether another seed gives another fill."""
    multiple: int | None = None
    """Sides it takes: any multiple of this; None means `config.size` alone. Where that depends on
    settings, `__init__` says it for the one model."""
    watched: ClassVar[int | None] = 2000
    """How many validation pictures a run is watched on, fewer where a fill is slow; None: all."""
    by_lpips: ClassVar[bool] = False
    """Whether the best weights of a run are chosen with LPIPS among the scores, where its network
    is on the machine and the pictures are large enough for it."""
    chosen_by: ClassVar[str] = "hole_psnr"
    """What `selection` goes by without LPIPS, in words; a model with its own says it here too."""
    iterated: ClassVar[str] = ""
    """The setting that says how often a fill repeats its work, if one does."""
    no_graph: ClassVar[str] = ""
    """Why it cannot be exported as one graph, if it cannot."""
    critics: ClassVar[tuple[str, ...]] = ()
    """Its modules that judge while it learns and take no part in a fill; `save` can leave them
    out."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.trained = False
        self.history: list[dict[str, Any]] = []
        self.training_cost: dict[str, Any] | None = None
        self.training_run: dict[str, Any] | None = None
        self.training_pictures: Seen | None = None
        self.training_data = ""
        """What it was trained on and under which terms, as far as a card says it."""
        self.loaded_from: dict[str, str] | None = None
        """Name and digest of the weights that `load` read, and what they say of their data."""
        self.began_with: dict[str, str] | None = None
        """The same of those that the training began with, if it did not begin with new ones."""
        self.new_critics: tuple[str, ...] = ()
        """Those of `critics` that have learned nothing, as the loaded weights had none."""
        self.begun: tuple[Path | None, str, str] | None = None
        """The folder of the last run, and the digests of the weights it began and ended with."""

    def __repr__(self) -> str:
        """What it is, in a few lines; `torch.nn.Module.__repr__(model)` has the tree of modules."""
        return summary.text(self)

    def _repr_html_(self) -> str:
        return summary.html(self)

    @abstractmethod
    def fill(self, known: Tensor, mask: Tensor) -> Tensor:
        """Return whole pictures [N, 3, H, W] in [-1, 1]; what is known is pasted over them.

        Args:
            known: float in [-1, 1], zero where the mask hides.
            mask: float, 1 = missing.
        """

    def updates(self) -> list[Update]:
        """How the model learns: the updates of one training step; none if it does not."""
        return []

    def filled(self, batch: Batch) -> Tensor:
        """`fill` for a training batch, made once a step for all updates (see `Batch.once`)."""
        return batch.once("filled", lambda: self.fill(batch.known, batch.mask))

    def selection(self, scores: Mapping[str, float]) -> float:
        """The figure by which the best weights of a run are chosen on validation pictures.

        Args:
            scores: means of `hole_psnr`, `hole_l1` and `sharpness`; of `lpips` where the model is
                `by_lpips` and the network is there.
        """
        return scores["hole_psnr"]

    def require_parts(self) -> None:
        """Raise UsageError where training needs what is not on this machine; `create` asks."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        tensor = next(self.parameters(), next(self.buffers(), None))
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, unless `half()`, `bfloat16()` or `double()` made it another."""
        kinds = (weight.dtype for weight in self.parameters() if weight.is_floating_point())
        return next(kinds, torch.float32)

    def study(self, batches: Iterable[Tensor]) -> None:
        """See the training pictures once: how a model learns that needs no optimiser.

        Args:
            batches: one pass, each [N, 3, H, W], uint8 or float in [0, 1].
        """

    @classmethod
    def optimised(cls) -> bool:
        """Whether the trainer has anything to do: whether the class says how it learns."""
        return cls.updates is not Inpainter.updates

    @classmethod
    def lacking(cls) -> str:
        """What this machine lacks for the model to fill, with the cure; empty if nothing."""
        return ""

    @property
    def needs_training(self) -> bool:
        """Whether it must see pictures before it can fill."""
        return self.optimised() or type(self).study is not Inpainter.study

    @torch.no_grad()
    def inpaint(self, image: Tensor, mask: Tensor, seed: int = 0, first: int = 0) -> Tensor:
        """Fill the hole of each picture and leave the rest as it came, bit for bit.

        However many pictures come, some hundreds are worked on at a time.

        Args:
            image: [N, 3, H, W], uint8 or float in [0, 1]; what the mask hides is never looked at.
                Grey, [N, 1, H, W], is shown as three equal channels; the fill is its luma.
            mask: [N, 1, H, W], or [1, 1, H, W] for all; 0 and 1 in any dtype, 1 = missing.
            seed: names the noise of a stochastic model, together with a picture's number.
            first: the number of the first picture: with `first=7` a picture alone is filled as
                the one at place 7 of a batch.

        Returns:
            The filled pictures, with the shape, dtype and device of `image`.

        Raises:
            UsageError: shapes, ranges or masks that make no sense, or a model not yet trained.
        """
        given, image = image, as_rgb(image)
        check_images(image)
        height, width = image.shape[-2:]
        self.check_size(height, width)
        mask = check_mask(mask, image)
        self.require_training()
        filled, count = [], max(1, _PIXELS // (height * width))
        with evaluating(self), true_float32(self.device):
            for start in range(0, len(image), count):
                part = slice(start, start + count)
                pictures, holes = image[part].to(self.device), mask[part].to(self.device)
                with self.seeding(seed, first + start, len(pictures)):
                    filled.append(self.paint(pictures, holes).to(image.device))
        made = torch.cat(filled) if len(filled) > 1 else filled[0]
        if given is image:
            return made
        return torch.where(mask.bool().to(given.device), as_grey(made), given)

    @contextmanager
    def seeding(self, seed: int, first: int, count: int) -> Iterator[None]:
        """Inside the block, `count` pictures from number `first` on have the noise of `seed`."""
        if not self.stochastic:
            yield
            return
        seed = mix(seed, "inpaint")
        numbers = torch.arange(first, first + count, device=self.device)
        with seeded(seed, self.device), filling(keys(seed, numbers)):
            yield

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Fill as a part of a larger computation: gradients flow, nothing is checked or seeded.

        What the mask hides has no gradient, as it is never looked at. Whether dropout and
        BatchNorm train is for `train()` and `eval()` to say; noise is torch's own.

        Args:
            image: [N, 3, H, W] on the model's device, float in [0, 1] (uint8 has no gradients).
            mask: [N, 1, H, W] or [1, 1, H, W], bool or 0 and 1, 1 = missing.

        Returns:
            The filled pictures, with the shape and dtype of `image`.
        """
        return self.paint(image, mask.expand(len(image), -1, -1, -1))

    def paint(
        self, image: Tensor, mask: Tensor, fill: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> Tensor:
        """`inpaint` and nothing else: unchecked, unseeded, on the model's device.

        Args:
            image: as for `inpaint`.
            mask: bool or float [N, 1, H, W].
            fill: stands in for the model's `fill`.
        """
        hidden = mask.to(torch.float32)
        known = to_network(image) * (1 - hidden)
        with self._own_precision():
            filled = (fill or self.fill)(known.to(self.dtype), hidden.to(self.dtype))
        filled = filled.float().clamp(-1, 1)
        return torch.where(mask.bool(), _to_public(filled, image), image)

    def _own_precision(self) -> AbstractContextManager[object]:
        """Where weights are halves, what a model computes in float32 by itself meets them so."""
        halves = self.dtype in (torch.float16, torch.bfloat16)
        return torch.autocast(self.device.type, self.dtype) if halves else nullcontext()

    def sample(self, image: Tensor, mask: Tensor, n: int = 8, seed: int = 0) -> Tensor:
        """Fill every hole `n` times, each time otherwise.

        Args:
            image: as for `inpaint`.
            mask: as for `inpaint`.
            n: how many fills of each picture.
            seed: names the first fill, which is `inpaint`'s with this seed.

        Returns:
            [n, N, 3, H, W], of the dtype and on the device of `image`.

        Raises:
            UsageError: the model is not stochastic, or what `inpaint` refuses.
        """
        if not self.stochastic:
            raise UsageError(f"'{self.name}' fills a hole in one way only: use inpaint.")
        if n < 1:
            raise UsageError(f"sample gives at least one fill; got n={n}.")
        return torch.stack([self.inpaint(image, mask, seed + number) for number in range(n)])

    def fit(
        self,
        loader: Iterable[Any],
        *,
        mask: str | Tensor | None = None,
        val: Any = None,
        out: str | Path | None = None,
        quiet: bool = False,
        data: str = "",
        on_log: Callable[[dict[str, Any]], object] | None = None,
        on_look: Callable[[Look], object] | None = None,
        **training: Any,
    ) -> Self:
        """Train on pictures and return self, with the history in `history`.

        Args:
            loader: any iterable of image batches, tensors, (images, labels) pairs, (images,
                masks) pairs or dictionaries, or a `gapfill.data.Stream`, whose runs can be resumed
                exactly.
            mask: which masks to train with: a kind, a mixture such as `rect+brush`, `file:PATH`, or
                a tensor [M, 1, S, S]. Without it those that the loader gives, else `center`.
            val: pictures that are scored now and then, so that the best weights are kept: a
                tensor, a loader, a table, or a folder of them.
            out: a folder for checkpoints, log, samples and the trained `model`; the same call again
                continues there.
            quiet: no progress bar.
            data: what it is trained on and under which terms, kept with the weights in `out`.
            on_log: called with each line of the log: the `step`, the mean of each loss since the
                line before, such as `generator/l1`, and `lr`.
            on_look: called with a `gapfill.types.Look` each time that `val` was scored: step,
                scores, sample pictures. What either raises ends the run, and comes through as it
                is; the same call goes on from the last checkpoint in `out`. In several processes
                the first alone calls them.
            training: settings of `gapfill.train.Training`, such as `epochs=5` or `budget="10m"`.

        Raises:
            UsageError: settings, pictures or masks that make no sense.
            DivergedError: a loss became NaN.
        """
        hooks = fitting.Hooks(on_log, on_look)
        fitting.fit(self, loader, mask, val, out, quiet, data, hooks, training)
        return self

    def identity(
        self,
        loader: Any,
        *,
        mask: str | Tensor | None = None,
        val: Any = None,
        **training: Any,
    ) -> dict[str, Any]:
        """What makes the run of `fit` with these arguments this run and no other.

        JSON values: settings, masks, digests of the pictures and of the weights it begins with. It
        stands in the run folder's plan, in `training_run` after a run, and with saved weights.
        """
        return identity.of_fit(self, loader, mask, val, training)

    def save(
        self, path: str | Path, data: str = "", overwrite: bool = False, critics: bool = True
    ) -> str:
        """Write the weights, and what they are, into the folder `path`; return their digest.

        The files are `model.safetensors`, `config.json` and, after a training, `seen.safetensors`:
        digests of the training pictures, by which a comparison notices test pictures among them.

            gapfill.load("runs/gan").half().save("weights/gan", data="…", critics=False)

        writes weights that are made to be given away: in half precision, and without the networks
        that only judged while it learned. `load` takes them; a `fit` that goes on from them begins
        with new critics and says so.

        Args:
            path: a folder, made where it is missing.
            data: what it was trained on and under which terms, kept with the weights; by default
                what those say that were loaded.
            overwrite: take the place of another model that is saved there.
            critics: whether the modules in the model's `critics` are written too; those that were
                new when it was loaded never are.

        Raises:
            UsageError: the model has not been trained, or another one is saved there.
        """
        self.require_training()
        without = self.new_critics if critics else self.critics
        about = {
            "model": self.name,
            "config": plain(self.config),
            "training": self.training_cost,
            "run": self.training_run,
            "without": list(without),
            "began": self.began_with,
            "data": data or self.training_data,
            "gapfill": __version__,
        }
        folder = expand(path)
        kept = leaving_out(self.state_dict(), without)
        if not overwrite and not checkpoint.holds(folder / "model.safetensors", kept):
            raise UsageError(
                f"{folder} holds another saved model. Give overwrite=True, or another folder."
            )
        digest = checkpoint.save_weights(folder / "model.safetensors", kept, about)
        checkpoint.write_json(folder / "config.json", about)
        if self.training_pictures is not None:
            self.training_pictures.save(folder, digest)
        return digest

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, **settings: Any
    ) -> Self:
        """Load a saved model from a folder or from the Hugging Face Hub, ready to fill.

        Called on `Inpainter` itself it makes whatever model lies there; on a model's class, that.

        Args:
            source: a folder, or `user/name` on the Hub where there is no such folder.
            revision: of the repository on the Hub.
            settings: as for `gapfill.load`.

        Raises:
            UsageError: it is neither, or another model than the class.
            GapfillError: it cannot be had, or its files are damaged.
        """
        import gapfill  # whose `load` knows the names

        folder = hub.fetch(source, revision)
        model = gapfill.load(folder, **settings)
        if not isinstance(model, cls) or cls.name not in ("unregistered", model.name):
            raise UsageError(f"{source} holds a '{model.name}', not a '{cls.name}'.")
        if model.loaded_from is not None and folder != expand(source):
            model.loaded_from["name"] = str(source)
        return model

    def push_to_hub(
        self,
        name: str,
        *,
        data: str = "",
        critics: bool = True,
        private: bool = False,
        message: str = "Upload a model of gapfill",
    ) -> str:
        """Publish the model on the Hugging Face Hub, with a page; return its address.

        Args:
            name: `user/name`, made where it is missing; the account is that of HF_TOKEN or of
                `hf auth login`.
            data: as for `save`.
            critics: as for `save`.
            private: whether a new repository is private.
            message: of the commit.

        Raises:
            UsageError: the model has not been trained, or a name that is none.
            GapfillError: it cannot be uploaded.
        """
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            self.save(folder, data, critics=critics)
            checkpoint.write_text(folder / "README.md", hub.page(self, folder, name))
            return hub.publish(folder, name, private, message)

    def check_size(self, height: int, width: int) -> None:
        """Refuse pictures of a size that this model does not take.

        Raises:
            UsageError: names the sizes that it takes.
        """
        if self.multiple is not None:
            if height % self.multiple or width % self.multiple:
                raise UsageError(
                    f"'{self.name}' takes sides that are multiples of {self.multiple}; "
                    f"got {width}×{height}."
                )
        elif (height, width) != (self.config.size, self.config.size):
            raise UsageError(
                f"this '{self.name}' was made for {self.config.size}×{self.config.size} pictures; "
                f"got {width}×{height}. Create it with size={height}, or resize them."
            )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over weights, as any module does; with all of them the model counts as trained."""
        found = super().load_state_dict(state_dict, strict, assign)
        self.trained = self.trained or not found.missing_keys
        self.training_run = self.training_cost = self.training_pictures = None
        self.loaded_from = self.began_with = None  # of the new ones nothing is known
        self.training_data = ""
        if not found.missing_keys:
            self.new_critics = ()
        return found

    def require_training(self) -> None:
        """Raise UsageError if the model must be trained and is not."""
        if not self.trained and self.needs_training:
            raise UsageError(
                f"'{self.name}' has not been trained. Call .fit(loader), or load weights."
            )


class evaluating:  # noqa: N801, a context manager reads as a word
    """Puts a module into eval mode inside the block and back afterwards."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.training = self.module.training
        if self.training:
            self.module.eval()

    def __exit__(self, *error: object) -> None:
        if self.training:
            self.module.train()


def _to_public(filled: Tensor, image: Tensor) -> Tensor:
    """Filled pictures as the caller's: dtype and range of `image`."""
    scaled = (filled + 1) / 2
    if image.dtype == torch.uint8:
        scaled = (scaled * 255).round()
    return scaled.to(image.dtype)
