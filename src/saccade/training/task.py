"""One training step and one validation, as a Lightning module; and one step on the side before any other."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod, sqrt
from statistics import median
from typing import Any, cast

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saccade.data.cache import Sample
from saccade.errors import InvalidInput, SaccadeError
from saccade.losses import soft_cross_entropy
from saccade.metrics import iou, miou
from saccade.metrics.confusion import confusion_matrix
from saccade.runtime.seeds import seed_of
from saccade.samplers import Glimpses, Sampler
from saccade.samplers.deformation import drawn_shares
from saccade.samplers.recipe import StepInfo
from saccade.segmenter import Segmenter
from saccade.training.averaging import WeightAverage, swapped_back
from saccade.training.config import Config
from saccade.training.loading import PARTS, Augmentation, random_crops
from saccade.training.run_folder import SEGMENTER
from saccade.training.trainer import build_optimizer, rate_factor
from saccade.training.weights import encoders_of
from saccade.warp import Pyramid, unwarp
from saccade.warp import sample as sample_at

DRAW_OF_SIZES, DRAW_OF_SHARES = 2, 3
"""What the seeds of a draw of sizes, and of how far samples gather, have behind those of the other draws of a
step."""


def bucket_by_shape(
    sampler: Sampler, batch: list[Sample], augmentation: Augmentation
) -> Iterator[tuple[list[Sample], Augmentation, float]]:
    """The images of each size of glimpse, their part of the augmentation, and their share of the batch.

    A sampler of fixed sizes leaves the batch whole.
    """
    groups: dict[object, list[int]] = {}
    for index, sample in enumerate(batch):
        sized = sampler.for_image(sample.size)
        groups.setdefault((sized.size, sized.thumbnail_size), []).append(index)
    for members in groups.values():
        if len(members) == len(batch):
            yield batch, augmentation, 1.0
        else:
            share = len(members) / len(batch)
            yield [batch[index] for index in members], augmentation.of(members), share


@dataclass(frozen=True)
class Seen:
    """What the network said of some glimpses, and the truth.

    Attributes:
        scores: (V, K, h, w).
        labels: (V, h, w) class ids.
        grids: (V, h, w, 2), where both lie in the images as they are; no gradient flows to them.
    """

    scores: Tensor
    labels: Tensor
    grids: Tensor

    @torch.no_grad()
    def shares_at(self, grids: Tensor) -> Tensor:
        """(V, K, h', w') float32 shares of the classes at other grids (V, h', w', 2) of the same images, each
        the mean over its footprint, by way of an image twice as fine as the glimpses.

        Not by resizing: grids of one density but of two sizes lie apart by half a sample and more where
        springs are far from even.
        """
        size = 2 * self.grids.shape[1], 2 * self.grids.shape[2]
        probabilities = unwarp(self.scores.softmax(1), self.grids, size)
        return sample_at(Pyramid.of(probabilities), grids, antialias=True)


class Thumbnails:
    """Keeps thumbnails by the image's stem, as many as fit.

    Args:
        limit_bytes: what the kept ones may take together; 2700 thumbnails of 64 x 128 by default.
    """

    def __init__(self, limit_bytes: int = 1 << 28) -> None:
        self.left = limit_bytes
        self._kept: dict[str, Tensor] = {}

    def of(self, segmenter: Segmenter, batch: Sequence[Sample]) -> Tensor | None:
        """(B, 3, h_o, w_o) as :meth:`saccade.Segmenter.thumbnail` gives; None where none is wanted."""
        if segmenter.sampler.thumbnail_size is None:
            return None
        return torch.cat([self._of(segmenter, sample) for sample in batch])

    def _of(self, segmenter: Segmenter, sample: Sample) -> Tensor:
        kept = None if sample.varied else self._kept.get(sample.stem)
        if kept is not None:
            return kept
        thumbnail = segmenter.thumbnail([sample.pyramid])
        assert thumbnail is not None  # asked for only where there is one
        size = thumbnail.numel() * thumbnail.element_size()
        if not sample.varied and size <= self.left:
            self._kept[sample.stem] = thumbnail
            self.left -= size
        return thumbnail


class SegmentationTask(L.LightningModule):
    """Trains sampler and network together; validates at full resolution with counts pooled over the images.

    A batch is a list of samples whose images may differ in size. Everything random in a step follows from
    (seed, epoch, step), so a resumed run repeats an unbroken one.

    Args:
        segmenter: what is trained.
        config: of the run; edge weights resolved to numbers.
        class_names: K names, for the names of the metrics.
        steps_an_epoch: batches in an epoch.
        training_images: their names, kept in the checkpoints, so that a run goes on with the same images.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        config: Config,
        class_names: tuple[str, ...],
        steps_an_epoch: int,
        training_images: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.training_images = list(training_images)
        self.segmenter, self.config, self.class_names = segmenter, config, class_names
        self.steps_an_epoch = steps_an_epoch
        recipe, alone = config.recipe, config.variant == "single"
        self.auxiliary_loss = None if alone else recipe.auxiliary_loss(config.loss, class_names)
        self.own_step = recipe.training_step(config.loss, config.training.seed)
        self.thumbnails = Thumbnails()
        self.confusion = torch.zeros(len(class_names), len(class_names), dtype=torch.int64)
        self.shrinks: list[float] = []
        self._average: WeightAverage | None = None
        self._average_before: tuple[dict[str, Tensor], int] | None = None

    def configure_optimizers(self) -> Any:
        options = self.config.optimizer
        optimizer = build_optimizer(self.parameters(), options.for_batch(self.config.training.batch_size))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _rate(self, step: int) -> float:
        """Factor of the learning rate: each stage has the whole schedule."""
        config = self.config
        first = self.steps_an_epoch * config.first_epochs
        if step < first:
            return rate_factor(step, first, self.steps_an_epoch, config.optimizer)
        steps = self.steps_an_epoch * config.training.epochs
        return rate_factor(step - first, steps, self.steps_an_epoch, config.optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_images"] = self.training_images
        checkpoint["shrink"] = median(self.shrinks) if self.shrinks else None
        if self._average is not None:
            self._average.save(checkpoint, SEGMENTER)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._average_before = swapped_back(checkpoint, SEGMENTER)

    def on_train_start(self) -> None:
        """Here weights are restored and on their device: an average begins from them, or goes on."""
        if not self.config.training.average:
            return
        self._average = WeightAverage(self.segmenter, self.config.training.average)
        if self._average_before is not None:
            self._average.restore(*self._average_before)
            self._average_before = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._average is not None:
            self._average.update(self.segmenter)

    @property
    def predictor(self) -> Segmenter:
        """What is validated and kept: the average of the weights where there is one."""
        return self.segmenter if self._average is None else cast(Segmenter, self._average.module)

    def transfer_batch_to_device(
        self, batch: list[Sample], device: torch.device, dataloader_idx: int
    ) -> list[Sample]:
        """Images stay where they are: only what is sampled from them travels."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Puts the stage in force: which half learns in this epoch, and whether it is validated."""
        self.trainer.check_val_every_n_epoch = 1 if self._is_validated() else self.config.all_epochs + 1
        torch.manual_seed(seed_of(self.config.training.seed, self.current_epoch, self.global_rank))
        self.shrinks.clear()
        sampler_learns, network_learns = self.stage()
        self.segmenter.sampler.requires_grad_(sampler_learns)
        self.segmenter.network.requires_grad_(network_learns)
        self.segmenter.sampler.train(sampler_learns)
        self.segmenter.network.train(network_learns)
        for encoder in self._frozen():
            encoder.eval()

    def _frozen(self) -> list[nn.Module]:
        """The encoders, in the epochs in which they stay as they are."""
        of_network = self.current_epoch - self.config.first_epochs
        frozen = 0 <= of_network < self.config.network.freeze_epochs
        return encoders_of(self.segmenter.network) if frozen else []

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Without a gradient a parameter stays as it is, in one process and in several alike."""
        for encoder in self._frozen():
            for parameter in encoder.parameters():
                parameter.grad = None

    def stage(self) -> tuple[bool, bool]:
        """Whether the sampler and the network learn in this epoch."""
        if self.current_epoch < self.config.first_epochs:
            return True, False
        return self.config.variant != "staged", True

    def _is_validated(self) -> bool:
        """Every so many epochs of the network's, and after the last one."""
        done = self.current_epoch + 1 - self.config.first_epochs
        options = self.config.training
        return done > 0 and (done % options.validate_every == 0 or done == options.epochs)

    def training_step(self, batch: list[Sample], batch_index: int) -> Tensor:
        if self.config.data.cropping.random:
            batch = random_crops(batch, self.config.data.cropping, self._seed(batch_index, PARTS))
        self.shrinks += [self._shrink(sample.size) for sample in batch]
        augmentation = self._augmentation(len(batch), batch_index)
        segmentation, auxiliary = self._losses(batch, augmentation, batch_index)
        loss = segmentation + auxiliary
        if not torch.isfinite(loss):
            where = f"epoch {self.current_epoch + 1}, step {batch_index + 1}"
            line = f"the loss became {loss.item()} in {where}{self._rate_told()}"
            raise SaccadeError(f"{line}; lower optimizer.learning_rate")
        parts = {
            "train_loss": loss,
            "train_segmentation_loss": segmentation,
            "train_sampler_loss": auxiliary,
        }
        self.log_dict(
            {name: part.detach() for name, part in parts.items()},
            on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True,
        )  # fmt: skip
        return loss

    def _rate_told(self) -> str:
        """The learning rate in words; nothing before the training begins."""
        if self._trainer is None:
            return ""
        return f", at a learning rate of {self.trainer.optimizers[0].param_groups[0]['lr']:.3g}"

    def _shrink(self, size: tuple[int, int]) -> float:
        """Pixels along an axis that a sample stands for: what predictions should come near to."""
        return sqrt(prod(size) / prod(self.segmenter.sampler.for_image(size).size))

    def _losses(
        self, batch: list[Sample], augmentation: Augmentation, batch_index: int
    ) -> tuple[Tensor, Tensor]:
        """Segmentation and auxiliary loss: the sampler's own, or the mean over the images, of which only
        those with glimpses of one size are taken together."""
        if self.own_step is not None:
            return self.own_step(self.segmenter, batch, augmentation, self._step_info(batch_index))
        parts = [
            (share * segmentation, share * auxiliary)
            for part, varied, share in bucket_by_shape(self.segmenter.sampler, batch, augmentation)
            for draws in [(self._sizes(batch_index), self._shares(part, batch_index))]
            for segmentation, auxiliary in [self._glimpse_losses(part, varied, *draws)]
        ]
        segmentations, auxiliary_losses = zip(*parts, strict=True)
        return torch.stack(segmentations).sum(), torch.stack(auxiliary_losses).sum()

    def _step_info(self, batch_index: int) -> StepInfo:
        epochs = self.config.training.epochs
        return StepInfo(self.current_epoch, batch_index, self.steps_an_epoch, epochs, self.global_rank)

    def _sizes(self, batch_index: int) -> tuple[tuple[int, int], ...]:
        """Of the glimpses of a step where a run serves a range: its largest, one between and its smallest,
        the same in every process; none where the sampler's own alone is trained.

        The sandwich rule of Yu and Huang, "Universally slimmable networks and improved training techniques"
        (ICCV 2019), for sizes of images in the place of widths of networks. Where the network waits there is
        nothing that a size would change.
        """
        sizes = self.config.sampler.sizes
        if sizes is None or not self.stage()[1]:
            return ()
        seed = seed_of(self.config.training.seed, self.current_epoch, batch_index, 0, DRAW_OF_SIZES)
        share = torch.rand((), generator=torch.Generator().manual_seed(seed)).item()
        return sizes.largest, sizes.at(share), sizes.smallest

    def _shares(self, batch: list[Sample], batch_index: int) -> Tensor | None:
        """How far the samples of each image gather in this step; None where always as the density says."""
        if not self.config.recipe.draws_shares:
            return None
        seed, epoch = self.config.training.seed, self.current_epoch
        numbers = (
            seed_of(seed, epoch, batch_index, zlib.crc32(sample.stem.encode()), DRAW_OF_SHARES)
            for sample in batch
        )
        return torch.cat([drawn_shares(1, torch.Generator().manual_seed(number)) for number in numbers])

    def _glimpse_losses(
        self,
        batch: list[Sample],
        augmentation: Augmentation,
        sizes: Sequence[tuple[int, int]] = (),
        shares: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Losses of the network and of the sampler, of one glimpse an image of each size (default: the
        sampler's own): the network's is their mean; the sampler's is that of the first, for what it predicts
        is the same at every size."""
        glimpses = self._propose(batch, augmentation, sizes[0] if sizes else None, shares)
        sampler_learns, network_learns = self.stage()
        zero = glimpses.grids.new_zeros(())
        segmentation = zero
        if network_learns:
            seen = self._see(batch, glimpses, augmentation)
            losses = [self._segmentation(seen)]
            for size in sizes[1:]:
                smaller = self._see(batch, self._propose(batch, augmentation, size, shares), augmentation)
                losses.append(self._segmentation(smaller, seen))
            segmentation = torch.stack(losses).mean()
        auxiliary = (
            self.auxiliary_loss(batch, glimpses, augmentation)
            if sampler_learns and self.auxiliary_loss is not None
            else zero
        )
        return segmentation, auxiliary

    def _augmentation(self, batch: int, batch_index: int) -> Augmentation:
        generator = torch.Generator().manual_seed(self._seed(batch_index))
        return Augmentation.random(batch, self.config.augment, generator, self.segmenter.reading.bands)

    def _seed(self, batch_index: int, *purpose: int) -> int:
        options = self.config.training
        return seed_of(options.seed, self.current_epoch, batch_index, self.global_rank, *purpose)

    def _propose(
        self,
        batch: list[Sample],
        augmentation: Augmentation,
        size: tuple[int, int] | None = None,
        shares: Tensor | None = None,
    ) -> Glimpses:
        """Glimpses of the flipped images under another light."""
        sampler = self.segmenter.sampler.for_image(batch[0].size)
        thumbnail = self.thumbnails.of(self.segmenter, batch)
        if thumbnail is not None:
            thumbnail = augmentation.colour_jitter(augmentation.flip(thumbnail)).to(self.device)
        labels = None
        if sampler.sees_labels:
            labels = [augmentation.of([n]).flip(sample.labels) for n, sample in enumerate(batch)]
        more = {} if shares is None else {"share": shares}
        return sampler(thumbnail, labels, size=size, batch=len(batch), **more)

    def _see(self, batch: list[Sample], glimpses: Glimpses, augmentation: Augmentation) -> Seen:
        through = self.config.loss.through_grid or self.config.variant == "single"
        grids = augmentation.flip_grid(glimpses.grids if through else glimpses.grids.detach())
        pixels = self.segmenter.read([sample.pyramid for sample in batch], grids, glimpses.image_index)
        # Label maps stay where they were decoded, as images do: only what is read there goes to the GPU.
        places = grids.detach().to(batch[0].labels.device).split(1)
        pairs = zip(glimpses.image_index.tolist(), places, strict=True)
        labels = torch.cat([sample_at(batch[i].labels, grid, mode="nearest") for i, grid in pairs])
        scores = self.segmenter.score(augmentation.colour_jitter(pixels))
        return Seen(scores, labels.to(scores.device), grids.detach())

    def _segmentation(self, seen: Seen, teacher: Seen | None = None) -> Tensor:
        """The loss of the network; a teacher shares in what is asked for."""
        loss, taught = self.config.loss(seen.scores, seen.labels), self.config.loss.distillation
        if teacher is None or not taught:
            return loss
        probabilities = teacher.shares_at(seen.grids).to(seen.scores.device)
        return (1 - taught) * loss + taught * soft_cross_entropy(seen.scores, probabilities, seen.labels)

    def validation_step(self, batch: list[Sample], batch_index: int) -> None:
        for sample in batch:
            labels = [sample.labels] if self.segmenter.sampler.sees_labels else None
            pred = self.predictor.predict(sample.pyramid, labels)
            self.confusion += confusion_matrix(pred, sample.labels, len(self.class_names))

    def on_validation_epoch_end(self) -> None:
        counts = self.trainer.strategy.reduce(self.confusion.to(self.device), reduce_op="sum").cpu()
        self.confusion = torch.zeros_like(self.confusion)  # not in place: counts may be this very tensor
        by_class = zip(self.class_names, iou(counts).tolist(), strict=True)
        scores = {"val_miou": float(miou(counts)), **{f"val_iou_{name}": value for name, value in by_class}}
        self.log_dict(scores, batch_size=1, sync_dist=True)


def sanity_check(
    task: SegmentationTask,
    batch: Sequence[Sample],
    sizes: Sequence[tuple[int, int]],
    counts: Sequence[int],
    device: torch.device | str = "cpu",
) -> None:
    """Runs sampler, network, loss and their gradients once, and leaves weights and chance as they were.

    Args:
        task: about to be trained.
        batch: of training images, tiny.
        sizes: (h, w) of what the network will see.
        counts: numbers of images that it will see at once.
        device: where it will be trained.

    Raises:
        InvalidInput: with the network's name, when it does not give scores (B, K, h, w) for these.
        SaccadeError: whatever else the step is refused with.
    """
    name = task.config.network.name
    with on_the_side(task, device):
        for size in sizes:
            for count in counts:
                _check_network(
                    task.segmenter,
                    name,
                    len(task.class_names),
                    (count, task.segmenter.reading.channels, *size),
                )
        _check_step(task, list(batch))


@contextmanager
def on_the_side(task: SegmentationTask, device: torch.device | str) -> Iterator[None]:
    """Everything that a step changes is afterwards what it was: a run is the same with and without it."""
    modes = {part: part.training for part in task.modules()}
    learning = {parameter: parameter.requires_grad for parameter in task.parameters()}
    tensors = [*task.parameters(), *task.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    place = torch.device(device)
    gpus = [place.index or 0] if place.type == "cuda" else []
    try:
        with torch.random.fork_rng(gpus), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task.to(place).train().requires_grad_(True)
            yield
    finally:
        task.to("cpu")
        with torch.no_grad():
            for tensor, before in zip([*task.parameters(), *task.buffers()], kept, strict=True):
                tensor.grad = None
                tensor.copy_(before)
        for part, training in modes.items():
            part.training = training
        for parameter, learns in learning.items():
            parameter.requires_grad_(learns)
        task.shrinks.clear()


def _check_network(segmenter: Segmenter, name: str, classes: int, shape: tuple[int, ...]) -> None:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(segmenter.mean.device)
    pixels = noise.contiguous(memory_format=segmenter._layout)
    labels = torch.zeros((shape[0], *shape[2:]), dtype=torch.int64, device=pixels.device)
    with _named(f"network {name}", f"one that trains on images {shape}"):
        scores = segmenter.score(pixels)
        _require_scores(scores, name, classes, shape)
        if scores.requires_grad:
            F.cross_entropy(scores, labels).backward()
    if not scores.requires_grad:
        raise InvalidInput(f"network {name}", "one whose scores have a gradient", "scores without one")
    segmenter.network.eval()
    with torch.no_grad(), _named(f"network {name}", f"one that predicts from images {shape}"):
        _require_scores(segmenter.score(pixels), name, classes, shape)
    segmenter.network.train()


def _require_scores(scores: Tensor, name: str, classes: int, shape: tuple[int, ...]) -> None:
    needed = (shape[0], classes, *shape[2:])
    if tuple(scores.shape) != needed:
        expected = f"one that gives scores {needed} for images {shape}: one for each of the {classes} classes"
        fix = "make it for the classes of the data"
        raise InvalidInput(f"network {name}", expected, f"scores {tuple(scores.shape)}", fix)
    if not bool(torch.isfinite(scores).all()):
        raise InvalidInput(
            f"network {name}", "one whose scores are finite", "nan or infinity before any step"
        )


def _check_step(task: SegmentationTask, batch: list[Sample]) -> None:
    config = task.config
    what = f"the sampler {config.sampler.name} with network {config.network.name}"
    with _named(what, f"something that makes a step on {len(batch)} images"):
        loss = task.training_step(batch, 0)
        if loss.requires_grad:
            loss.backward()


@contextmanager
def _named(what: str, expected: str) -> Iterator[None]:
    """Whatever a foreign network raises becomes one line; what tells of memory goes on as it is."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except SaccadeError as error:
        if what in str(error):
            raise
        raise SaccadeError(f"{what}: {error}") from error
    except Exception as error:
        if "can't allocate memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        fix = "choose another sampler.size or training.batch_size, or another network"
        raise InvalidInput(what, expected, f"{type(error).__name__}: {reason}", fix) from error


def tolerate_single_values(module: nn.Module) -> None:
    """Lets batch norm train on batches that give it one value a channel, of which there is no spread.

    Such a layer then takes the mean and the variance that it has gathered so far and leaves them as they are,
    as in a prediction. This is so for an image alone behind a pooling of the whole image (DeepLabv3,
    PSPNet). With two values or more nothing changes.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.track_running_stats:
            layer.register_forward_pre_hook(_use_running_statistics)
            layer.register_forward_hook(_train_again, always_call=True)


def _use_running_statistics(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    if layer.training and inputs[0].numel() == inputs[0].shape[1]:
        layer.training, layer._single_value = False, True  # type: ignore[assignment]


def _train_again(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if getattr(layer, "_single_value", False):
        layer.training, layer._single_value = True, False  # type: ignore[assignment]
