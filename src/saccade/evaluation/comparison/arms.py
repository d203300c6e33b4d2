"""What a comparison is made of: arms, each at several sizes and with several seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from saccade.data import DataFolder, SampleCache
from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.evaluation.results import Evaluation
from saccade.training.config import Config
from saccade.training.configfile import read_config

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,39}")
Size = tuple[int, int]
Key = tuple[str, Size]
"""The name of an arm, and a size."""


@dataclass(frozen=True)
class Arm:
    """One way of looking, or of training, that is put beside others.

    Attributes:
        name: in tables, charts and names of folders: letters, digits, ``.``, ``+``, ``-``.
        options: ``section.key=value`` each, over those that all arms share.
        value: where arms are steps of one number (an edge weight), that number, the x of a chart.
    """

    name: str
    options: tuple[str, ...] = ()
    value: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput("the name of an arm", "letters, digits, '.', '+' or '-'", repr(self.name))


@dataclass(frozen=True)
class Case:
    """One run that a comparison needs: an arm at a size, with a seed.

    Attributes:
        arm: whose options it has.
        size: (rows, columns) that the network sees.
        seed: of everything random.
        config: every option.
    """

    arm: Arm
    size: Size
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of its folder: ``ARM_ROWSxCOLUMNS_sSEED``."""
        return f"{self.arm.name}_{named_size(self.size)}_s{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: that was asked for.
        folder: of its run.
        evaluation: of its best weights on the split; None where it failed.
        failure: why it failed, or is not there; "" where it is there.
        seconds: that its training took; None where that is not known.
    """

    case: Case
    folder: Path
    evaluation: Evaluation | None = None
    failure: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Setting:
    """What all arms share.

    Attributes:
        data: opened and checked.
        cache: of its decoded images.
        sizes: (rows, columns) each, smallest first.
        seeds: of the repetitions.
        base: the options of all arms.
        options: those of them that were given, ``section.key=value`` each, for the page.
        split: what is evaluated on.
        device: where networks run.
        on_sample: called after each image of :meth:`samples`.
    """

    data: DataFolder
    cache: SampleCache
    sizes: tuple[Size, ...]
    seeds: tuple[int, ...] = (0,)
    base: Config = field(default_factory=Config)
    options: tuple[str, ...] = ()
    split: str = "test"
    device: str = "cpu"
    on_sample: Callable[[], object] | None = None

    def samples(self) -> Iterator[Sample]:
        """The labelled images of the split, one after the other."""
        for sample in self.cache.iterate(self.data, self.data.split(self.split)):
            yield sample
            if self.on_sample is not None:
                self.on_sample()

    def case(self, arm: Arm, size: Size, seed: int) -> Case:
        """The run of an arm; raises UsageError for an option of it that there is not."""
        own = [f"sampler.size={named_size(size)}", f"training.seed={seed}"]
        config = read_config(overrides=[*arm.options, *own], base=self.base)
        return Case(arm, size, seed, config)


def named_size(size: Size) -> str:
    """``ROWSxCOLUMNS``."""
    return f"{size[0]}x{size[1]}"
