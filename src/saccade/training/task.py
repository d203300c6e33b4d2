"""One training step and one validation, as a Lightning module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod, sqrt
from statistics import median
from typing import Any

import lightning as L
import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.errors import SaccadeError
from saccade.losses import segmentation_loss
from saccade.metrics import iou, miou
from saccade.metrics.confusion import confusion_matrix
from saccade.samplers import Glimpses, Sampler
from saccade.segmenter import Segmenter
from saccade.training.augment import Augmentation, seed_of
from saccade.training.auxiliary_losses import build_auxiliary_loss
from saccade.training.config import Config
from saccade.training.foveation import FoveationStep, StepInfo
from saccade.training.loading import PARTS, random_crops
from saccade.training.trainer import build_optimizer, rate_factor
from saccade.warp import sample as sample_at


def bucket_by_shape(
    sampler: Sampler, batch: list[Sample], draw: Augmentation
) -> Iterator[tuple[list[Sample], Augmentation, float]]:
    """The images of each size of view, their part of the draw, and their share of the batch.

    A sampler of fixed sizes leaves the batch whole.
    """
    groups: dict[object, list[int]] = {}
    for place, one in enumerate(batch):
        sized = sampler.for_image(one.size)
        groups.setdefault((sized.size, sized.thumbnail_size), []).append(place)
    for places in groups.values():
        if len(places) == len(batch):
            yield batch, draw, 1.0
        else:
            yield [batch[place] for place in places], draw.of(places), len(places) / len(batch)


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
        return torch.cat([self._one(segmenter, sample) for sample in batch])

    def _one(self, segmenter: Segmenter, sample: Sample) -> Tensor:
        kept = None if sample.varied else self._kept.get(sample.stem)
        if kept is not None:
            return kept
        made = segmenter.thumbnail([sample.pyramid])
        assert made is not None  # asked for only where there is one
        size = made.numel() * made.element_size()
        if not sample.varied and size <= self.left:
            self._kept[sample.stem] = made
            self.left -= size
        return made


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
        self.auxiliary_loss = build_auxiliary_loss(config)
        self.foveation = FoveationStep(config) if config.sampler.name == "foveation" else None
        self.thumbnails = Thumbnails()
        self.confusion = torch.zeros(len(class_names), len(class_names), dtype=torch.int64)
        self.shrinks: list[float] = []

    def configure_optimizers(self) -> Any:
        options = self.config.optimizer
        optimizer = build_optimizer(self.parameters(), options)
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
        self.shrinks += [self._shrink(one.size) for one in batch]
        draw = self._draw(len(batch), batch_index)
        if self.foveation is not None:
            step_info = StepInfo(
                self.current_epoch, batch_index, self.steps_an_epoch, self.config.training.epochs,
                self.global_rank,
            )  # fmt: skip
            segmentation, taught = self.foveation(self.segmenter, batch, draw, step_info)
        else:
            segmentation, taught = self._losses(batch, draw)
        loss = segmentation + taught
        if not torch.isfinite(loss):
            where = f"epoch {self.current_epoch + 1}, step {batch_index + 1}"
            line = f"the loss became {loss.item()} in {where}{self._rate_told()}"
            raise SaccadeError(f"{line}; lower optimizer.learning_rate")
        parts = {"train_loss": loss, "train_segmentation_loss": segmentation, "train_sampler_loss": taught}
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

    def _losses(self, batch: list[Sample], draw: Augmentation) -> tuple[Tensor, Tensor]:
        """The mean over the images, of which only those with views of one size are taken together."""
        parts = [
            (share * segmentation, share * taught)
            for part, drawn, share in bucket_by_shape(self.segmenter.sampler, batch, draw)
            for segmentation, taught in [self._view_losses(part, drawn)]
        ]
        segmentations, auxiliary_losses = zip(*parts, strict=True)
        return torch.stack(segmentations).sum(), torch.stack(auxiliary_losses).sum()

    def _view_losses(self, batch: list[Sample], draw: Augmentation) -> tuple[Tensor, Tensor]:
        """Losses of the network and of the sampler, of one view an image."""
        views = self._look(batch, draw)
        sampler_learns, network_learns = self.stage()
        zero = views.grids.new_zeros(())
        segmentation = self._segmentation(batch, views, draw) if network_learns else zero
        taught = (
            self.auxiliary_loss(batch, views, draw)
            if sampler_learns and self.auxiliary_loss is not None
            else zero
        )
        return segmentation, taught

    def _draw(self, batch: int, batch_index: int) -> Augmentation:
        generator = torch.Generator().manual_seed(self._seed(batch_index))
        return Augmentation.draw(batch, self.config.augment, generator)

    def _seed(self, batch_index: int, *purpose: int) -> int:
        options = self.config.training
        return seed_of(options.seed, self.current_epoch, batch_index, self.global_rank, *purpose)

    def _look(self, batch: list[Sample], draw: Augmentation) -> Glimpses:
        """Glimpses of the flipped, tinted images."""
        sampler = self.segmenter.sampler.for_image(batch[0].size)
        thumbnail = self.thumbnails.of(self.segmenter, batch)
        if thumbnail is not None:
            thumbnail = draw.colour_jitter(draw.flip(thumbnail)).to(self.device)
        labels = None
        if sampler.sees_labels:
            pairs = zip(batch, draw.flipped.split(1), strict=True)
            labels = [Augmentation(m, draw.gain, draw.shift).flip(one.labels) for one, m in pairs]
        return sampler(thumbnail, labels, batch=len(batch))

    def _segmentation(self, batch: list[Sample], views: Glimpses, draw: Augmentation) -> Tensor:
        options = self.config.loss
        through = options.through_grid or self.config.variant == "single"
        grids = draw.flip_grid(views.grids if through else views.grids.detach())
        pixels = self.segmenter.read([one.pyramid for one in batch], grids, views.image_index)
        pairs = zip(views.image_index.tolist(), grids.detach().split(1), strict=True)
        labels = torch.cat([sample_at(batch[i].labels, grid, mode="nearest") for i, grid in pairs])
        scores = self.segmenter.score(draw.colour_jitter(pixels))
        weights = None if isinstance(options.class_weights, str) else options.class_weights
        return segmentation_loss(
            scores, labels.to(scores.device), options.segmentation,
            focal_gamma=options.focal_gamma, class_weights=weights,
        )  # fmt: skip

    def validation_step(self, batch: list[Sample], batch_index: int) -> None:
        for one in batch:
            labels = [one.labels] if self.segmenter.sampler.sees_labels else None
            pred = self.segmenter.predict(one.pyramid, labels)
            self.confusion += confusion_matrix(pred, one.labels, len(self.class_names))

    def on_validation_epoch_end(self) -> None:
        counts = self.trainer.strategy.reduce(self.confusion.to(self.device), reduce_op="sum").cpu()
        self.confusion = torch.zeros_like(self.confusion)  # not in place: counts may be this very tensor
        by_class = zip(self.class_names, iou(counts).tolist(), strict=True)
        scores = {"val_miou": float(miou(counts)), **{f"val_iou_{name}": value for name, value in by_class}}
        self.log_dict(scores, batch_size=1, sync_dist=True)
