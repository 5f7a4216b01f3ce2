"""The one interface: what every inpainter has, and the two methods that make one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gapfill import checkpoint, masks, metrics, ranks
from gapfill._version import __version__
from gapfill.about import About
from gapfill.config import build, plain
from gapfill.data import known
from gapfill.data.feed import MaskedBatches
from gapfill.data.items import pictures_of
from gapfill.data.seen import Seen
from gapfill.data.stream import Replay, Source, Stream, check_images, open_source, to_network
from gapfill.errors import GapfillError, UsageError
from gapfill.masks.given import check_mask
from gapfill.randomness import filling, keys, mix, seeded
from gapfill.reading.regular import expand
from gapfill.train import Trainer, Training
from gapfill.train.signals import Signals
from gapfill.types import Batch, Update
from gapfill.watcher import Watcher

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
    watched: ClassVar[int | None] = None
    """How many validation pictures a run is watched on, fewer where a fill is slow; None: all."""
    by_lpips: ClassVar[bool] = False
    """Whether the best weights of a run are chosen with LPIPS among the scores, where its network
    is on the machine and the pictures are large enough for it."""
    chosen_by: ClassVar[str] = "hole_psnr"
    """What `selection` goes by without LPIPS, in words; a model with its own says it here too."""
    iterated: ClassVar[str] = ""
    """The setting that says how often a fill repeats its work, if one does."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.trained = False
        self.history: list[dict[str, Any]] = []
        self.training_cost: dict[str, Any] | None = None
        self.training_run: dict[str, Any] | None = None
        self.training_pictures: Seen | None = None
        self._begun: tuple[Path | None, str, str] | None = None

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
            mask: [N, 1, H, W], or [1, 1, H, W] for all; 0 and 1 in any dtype, 1 = missing.
            seed: names the noise of a stochastic model, together with a picture's number.
            first: the number of the first picture: with `first=7` a picture alone is filled as
                the one at place 7 of a batch.

        Returns:
            The filled pictures, with the shape, dtype and device of `image`.

        Raises:
            UsageError: shapes, ranges or masks that make no sense, or a model not yet trained.
        """
        check_images(image)
        height, width = image.shape[-2:]
        self.check_size(height, width)
        mask = check_mask(mask, image)
        self.require_training()
        filled, count = [], max(1, _PIXELS // (height * width))
        with evaluating(self):
            for start in range(0, len(image), count):
                part = slice(start, start + count)
                pictures, holes = image[part].to(self.device), mask[part].to(self.device)
                with self.seeding(seed, first + start, len(pictures)):
                    filled.append(self.paint(pictures, holes).to(image.device))
        return torch.cat(filled) if len(filled) > 1 else filled[0]

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
            training: settings of `gapfill.train.Training`, such as `epochs=5` or `budget="10m"`.

        Raises:
            UsageError: settings, pictures or masks that make no sense.
            DivergedError: a loss became NaN.
        """
        settings = self._settings(training)
        folder = expand(out) if out is not None else None
        if folder is not None:
            checkpoint.check_folder(folder)
        if not self.optimised():
            source = open_source(loader, self.device) if self.needs_training else None
            if source is not None:
                with seeded(mix(settings.seed, "study")):
                    self.study(source.epoch())
            self.training_run = self._study_identity(source)
            self.training_pictures = None if source is None else Seen.after(None, source)
            self.trained = True
            self._keep(folder, data)
            return self
        if self.dtype != torch.float32:
            kind = str(self.dtype).removeprefix("torch.")
            raise UsageError(
                f"the weights of this '{self.name}' are {kind}, and training needs float32. "
                "Call .float() first."
            )
        with Signals() as signals:  # before a loader's workers begin, which inherit what is done
            self._optimise(loader, settings, mask, val, folder, quiet, signals)
        self._keep(folder, data)
        return self

    def _optimise(
        self,
        loader: Iterable[Any],
        settings: Training,
        mask: str | Tensor | None,
        val: Any,
        folder: Path | None,
        quiet: bool,
        signals: Signals,
    ) -> None:
        """`fit`, for a model that has updates."""
        device = ranks.resolve(settings.device)
        if device.type == "cuda" and ranks.world() > 1:
            device = torch.device("cuda", torch.cuda.current_device())
        self.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        source = open_source(loader, device, quiet)
        with signals.reading(), seeded(mix(settings.seed, "batch", 0)):  # as the trainer reads it
            size = source.block(0, 1).shape[-1]
            self._check_training_size(*source.block(0, 1).shape[-2:])
        mask = _mask_kind(mask, source)
        with signals.reading(), seeded(mix(settings.seed, "validation")):
            val = None if val is None else pictures_of(val, size)
        if val is not None:
            self._check_training_size(*val.shape[-2:])
        identity, given = self._run_identity(source, mask, val, settings, folder)
        lpips, missing = None, ""
        if identity["chosen_by"] == "lpips":
            lpips, missing = metrics.load_lpips(device)
        if missing:
            raise UsageError(f"LPIPS, by which a '{self.name}' is chosen: {missing}.")
        trainer = Trainer(
            self,
            self.updates(),
            MaskedBatches(source, mask, settings.seed, device, given),
            settings,
            steps_per_epoch=len(source),
            folder=folder,
            identity=identity,
            skip=source.batch if isinstance(source, Replay) else None,
            watch=None
            if val is None
            else Watcher(val[: self.watched], mask, settings.seed, folder, lpips),
            title=self.name,
            quiet=quiet,
        )
        before = self.trained
        earlier = self.training_pictures or (Seen.unknown() if before else None)
        seen = Seen.after(earlier, source)
        if earlier and folder and (folder, identity["initial_weights"]) == (self._begun or ())[:2]:
            seen = replace(seen, trainings=earlier.trainings)  # that folder's run, which goes on
        try:
            steps = trainer.run(signals)
        except BaseException as error:
            self.trained = before  # resuming alone loads weights
            if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
                raise UsageError(
                    f"'{self.name}' cannot learn from a batch of one picture, whose statistics "
                    "its BatchNorm needs: give batches of at least 2."
                ) from error
            raise
        finally:
            if trainer.begun:  # whatever ended it, these are that run's weights
                ends = checkpoint.digest(self.state_dict())
                self.training_run = identity
                self.training_pictures = seen
                self._begun = folder, identity["initial_weights"], ends
        self.trained = True
        self.history = trainer.history
        images = steps * trainer.batch_size
        self.training_cost = {
            "steps": steps,
            "images": images,
            "seconds": round(trainer.seconds, 3),
            "images_per_second": round(images / trainer.seconds, 2) if trainer.seconds else None,
            "precision": trainer.engine.precision,
            "mode": trainer.engine.mode,
            "batch_size": trainer.batch_size,
        }

    def _settings(self, training: Mapping[str, Any]) -> Training:
        """The settings of `fit`; of one of the model's it says where it belongs."""
        fields = getattr(self.Config, "__dataclass_fields__", {})
        for name in training:
            if name in fields and name not in Training.__dataclass_fields__:
                raise UsageError(
                    f"fit: '{name}' is a setting of the model: "
                    f"gapfill.create('{self.name}', {name}=…)."
                )
        return build(Training, training, where="fit")

    def _keep(self, folder: Path | None, data: str) -> None:
        """Save the trained model into a run's folder."""
        if folder is not None and ranks.rank() == 0:
            self.save(folder / "model", data, overwrite=True)

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
        if not self.needs_training:
            return self._study_identity(None)
        source = open_source(loader, self.device)
        if not self.optimised():
            return self._study_identity(source)
        settings = self._settings(training)
        with seeded(mix(settings.seed, "batch", 0)):
            size = source.block(0, 1).shape[-1]
        with seeded(mix(settings.seed, "validation")):
            val = None if val is None else pictures_of(val, size)
        kind = _mask_kind(mask, source)
        with seeded(mix(settings.seed, "batch", 0)):
            return self._run_identity(source, kind, val, settings, None)[0]

    def _run_identity(
        self,
        source: Source,
        mask: str,
        val: Tensor | None,
        settings: Training,
        folder: Path | None,
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What makes a run this run, and the mask pictures that it will use."""
        given = masks.banks(mask, source.block(0, 1).shape[-1])
        watched = val[: self.watched] if val is not None and settings.watch else None
        initial = checkpoint.digest(self.state_dict())
        if self._begun is not None and self._begun[::2] == (folder, initial):
            initial = self._begun[1]  # the weights of that folder's run, which goes on
        found = settings.identity() | {
            "processes": ranks.world(),
            "model": self.name,
            "config": plain(self.config),
            "mask": mask,
            "mask_pictures": [masks.digest(bank[:, None].float()) for bank in given.values()],
            "validation": None if watched is None else known.digest(watched),
            "chosen_by": None if watched is None else self._rule(watched),
            "initial_weights": initial,
        }
        return found | source.identity(mix(settings.seed, "batch", 0)), given

    def _rule(self, pictures: Tensor) -> str:
        """What the best weights are chosen by on these pictures, in words."""
        sees = self.by_lpips and not metrics.lpips_missing(min(pictures.shape[-2:]))
        return "lpips" if sees else self.chosen_by

    def _study_identity(self, source: Source | None) -> dict[str, Any]:
        """What makes a model without an optimiser what it is, as far as it is known beforehand."""
        found = {"model": self.name, "config": plain(self.config)}
        if isinstance(source, Stream):
            found["pictures"] = source.identity()["pictures"]
        return found

    def save(self, path: str | Path, data: str = "", overwrite: bool = False) -> str:
        """Write the weights, and what they are, into the folder `path`; return their digest.

        The files are `model.safetensors`, `config.json` and, after a training, `seen.safetensors`:
        digests of the training pictures, by which a comparison notices test pictures among them.

        Args:
            path: a folder, made where it is missing.
            data: what it was trained on and under which terms, kept with the weights.
            overwrite: take the place of another model that is saved there.

        Raises:
            UsageError: the model has not been trained, or another one is saved there.
        """
        self.require_training()
        about = {
            "model": self.name,
            "config": plain(self.config),
            "training": self.training_cost,
            "run": self.training_run,
            "data": data,
            "gapfill": __version__,
        }
        folder = expand(path)
        if not overwrite and not checkpoint.holds(folder / "model.safetensors", self.state_dict()):
            raise UsageError(
                f"{folder} holds another saved model. Give overwrite=True, or another folder."
            )
        digest = checkpoint.save_weights(folder / "model.safetensors", self.state_dict(), about)
        checkpoint.write_json(folder / "config.json", about)
        if self.training_pictures is not None:
            self.training_pictures.save(folder, digest)
        return digest

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

    def _check_training_size(self, height: int, width: int) -> None:
        """Refuse what this model was not made for, or what no mask can be drawn for."""
        size = getattr(self.config, "size", None)
        if height != width:
            raise UsageError(f"training pictures must be square; got {width}×{height}.")
        if size not in (None, height):
            raise UsageError(
                f"this '{self.name}' was made for {size}×{size} pictures; got {width}×{height}. "
                f"Create it with size={height}, or resize them."
            )
        self.check_size(height, width)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take over weights, as any module does; with all of them the model counts as trained."""
        found = super().load_state_dict(state_dict, strict, assign)
        self.trained = self.trained or not found.missing_keys
        self.training_run = None  # of which nothing is known
        return found

    def require_training(self) -> None:
        """Raise UsageError if the model must be trained and is not."""
        if not self.trained and self.needs_training:
            raise UsageError(
                f"'{self.name}' has not been trained. Call .fit(loader), or load weights."
            )


def _mask_kind(mask: str | Tensor | None, source: Source) -> str:
    """The kind of masks of a run whose source's first batch was read."""
    own = source.masks()
    if own is not None and mask is not None:
        raise UsageError(
            "the loader gives masks with its pictures, and mask= asks for others: "
            "leave out mask=, or give the pictures alone."
        )
    if own is not None:
        return masks.Handed(own, "given by the loader")
    if mask is None or isinstance(mask, str):
        return mask or "center"
    return masks.Handed(mask)


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


@dataclass(frozen=True)
class Card:
    """What stands with saved weights.

    Attributes:
        model: the registered name.
        config: the model's settings.
        training: what the training cost, if there was one.
        run: what makes the run that it came from this run and no other (`Inpainter.identity`).
        data: what it was trained on and under which terms.
        gapfill: the version that wrote it.
    """

    model: str
    config: Mapping[str, Any]
    training: Mapping[str, Any] | None = None
    run: Mapping[str, Any] | None = None
    data: str = ""
    gapfill: str = ""


def read_card(folder: Path) -> Card:
    """What a saved model's `config.json` says of it.

    Raises:
        UsageError: the folder holds no saved model.
        GapfillError: the file is damaged, or is none of gapfill's.
    """
    path = folder / "config.json"
    if not path.exists():
        raise UsageError(f"{folder} holds no saved model: there is no config.json.")
    return to_card(checkpoint.read_json(path), str(path))


def to_card(about: Mapping[str, Any], where: str) -> Card:
    """Make a card of JSON values, or say what is wrong with them.

    Raises:
        GapfillError: they are none of a card's.
    """
    try:
        return build(Card, about)
    except UsageError as error:
        newer = newer_than_this(str(about.get("gapfill", ""))) if isinstance(about, dict) else ""
        raise GapfillError(f"{where} describes no saved model: {error}{newer}") from error


def newer_than_this(version: str) -> str:
    """What to add to an error about a model that a newer gapfill wrote; else nothing."""
    own, other = (
        [int(part[:9]) for part in re.findall(r"\d+", text)[:3]] for text in (__version__, version)
    )
    if other <= own:
        return ""
    return f" It was saved by gapfill {version[:20]}, and this is {__version__}: install that one."
