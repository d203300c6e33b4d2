"""What a comparison is made of: methods at several sizes and seeds, and the runs that follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saccade.data import DataFolder, SampleCache
from saccade.data.cache import Sample
from saccade.errors import InvalidInput, UsageError, nearest_name
from saccade.evaluation.results import Evaluation
from saccade.runtime.plugins import CODE_PREFIX
from saccade.samplers.recipe import recipe_class, recipes
from saccade.training.config import Config, read_config
from saccade.training.run_folder import BEST, CHECKPOINTS, Run, load_run, read_checkpoint

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,39}")
Size = tuple[int, int]
Key = tuple[str, Size]
"""The name of a method, and a size."""


@dataclass(frozen=True)
class Method:
    """One way of looking, or of training, that is put beside others.

    Attributes:
        name: in tables, charts and names of folders: letters, digits, ``.``, ``+``, ``-``.
        options: ``section.key=value`` each, over those that all methods share.
        value: where methods are steps of one number (an edge weight), that number, the x of a chart.

    Examples:
        >>> from saccade.lab import Method
        >>> Method("strong-edges", ("sampler.name=boundary", "boundary.edge_weight=2")).name
        'strong-edges'
    """

    name: str
    options: tuple[str, ...] = ()
    value: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput("the name of a method", "letters, digits, '.', '+' or '-'", repr(self.name))


@dataclass(frozen=True)
class Trial:
    """One run that a comparison needs: a method at a size, with a seed.

    Attributes:
        method: whose options it has.
        size: (rows, columns) that the network sees.
        seed: of everything random.
        config: every option.

    Examples:
        >>> from saccade.lab import Method, Trial
        >>> from saccade.training import read_config
        >>> config = read_config(overrides=["sampler.name=uniform", "sampler.size=32x64", "training.seed=1"])
        >>> Trial(Method("uniform", ("sampler.name=uniform",)), (32, 64), 1, config).name
        'uniform_32x64_s1'
    """

    method: Method
    size: Size
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of its folder: ``METHOD_ROWSxCOLUMNS_sSEED``."""
        return f"{self.method.name}_{named_size(self.size)}_s{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: that was asked for.
        folder: of its run.
        evaluation: of its best weights on the split; None where it failed.
        failure: why it failed, or is not there; "" where it is there.
        seconds: that its training took; None where that is not known.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.lab import Method, Outcome, Trial
        >>> from saccade.training import Config
        >>> trial = Trial(Method("learned"), (64, 128), 0, Config())
        >>> outcome = Outcome(trial, Path("runs") / trial.name, failure="out of memory")
        >>> outcome.folder.name, outcome.evaluation is None
        ('learned_64x128_s0', True)
    """

    trial: Trial
    folder: Path
    evaluation: Evaluation | None = None
    failure: str = ""
    seconds: float | None = None


class OpenedRuns:
    """Runs of a comparison that were opened, so that no checkpoint is loaded twice while its file stays.

    Args:
        limit_bytes: of the weights that are kept; those that were not asked for longest go first.
        most: runs that are kept: a network weighs a megabyte beside its weights.
    """

    def __init__(self, limit_bytes: int = 2 << 30, most: int = 64) -> None:
        self.limit_bytes, self.most = limit_bytes, most
        self._runs: dict[Path, tuple[object, Run]] = {}
        self._facts: dict[Path, tuple[object, dict[str, Any]]] = {}

    def get(self, root: Path) -> Run:
        """The run at ``root`` with its best weights; raises as :func:`saccade.training.load_run`."""
        known = self._runs.pop(root, None)
        if known is not None and known[0] == _state_of_file(_best(root)):
            self._runs[root] = known
            return known[1]
        return self.keep(load_run(root))

    def keep(self, run: Run) -> Run:
        """Remembers a run with its best weights, as a training gives it."""
        self._runs[run.path] = (_state_of_file(_best(run.path)), run)
        weights = {path: _bytes(kept) for path, (_, kept) in self._runs.items()}
        while len(self._runs) > 1 and (
            len(self._runs) > self.most or sum(weights.values()) > self.limit_bytes
        ):
            oldest = next(iter(self._runs))
            del self._runs[oldest], weights[oldest]
        return run

    def facts(self, file: Path) -> dict[str, Any]:
        """What a checkpoint says beside its weights; raises FileProblem where it is broken."""
        known = self._facts.get(file)
        if known is None or known[0] != _state_of_file(file):
            saved = read_checkpoint(file)
            heavy = ("state_dict", "optimizer_states")
            known = _state_of_file(file), {key: value for key, value in saved.items() if key not in heavy}
            self._facts[file] = known
        return known[1]


def _best(root: Path) -> Path:
    return root / CHECKPOINTS / BEST


def _state_of_file(file: Path) -> object:
    """What changes when a file is written anew; None where there is none."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def _bytes(run: Run) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in run.segmenter.state_dict().values())


@dataclass(frozen=True)
class ComparisonConfig:
    """What all methods share.

    Attributes:
        data: opened and checked.
        cache: of its decoded images.
        sizes: (rows, columns) each, smallest first.
        seeds: of the repetitions.
        base: the options of all methods.
        options: those of them that were given, ``section.key=value`` each, for the page.
        split: what is evaluated on.
        device: where networks run.
        on_sample: called after each image of :meth:`samples`.
        runs: that were opened.

    Examples:
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> cache = SampleCache()
        >>> from saccade.lab import ComparisonConfig, Method
        >>> config = ComparisonConfig(data, cache, sizes=((4, 6), (8, 12)), seeds=(0, 1))
        >>> trial = config.trial(Method("even", ("sampler.name=uniform",)), size=(4, 6), seed=1)
        >>> trial.name, trial.config.sampler.name, len(list(config.samples()))
        ('even_4x6_s1', 'uniform', 2)
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
    runs: OpenedRuns = field(default_factory=OpenedRuns, compare=False, repr=False)

    def samples(self) -> Iterator[Sample]:
        """The labelled images of the split, one after the other."""
        for sample in self.cache.iterate(self.data, self.data.split(self.split)):
            yield sample
            if self.on_sample is not None:
                self.on_sample()

    def trial(self, method: Method, size: Size, seed: int) -> Trial:
        """The run of a method; raises UsageError for an option of it that there is not."""
        own = [f"sampler.size={named_size(size)}", f"training.seed={seed}"]
        config = read_config(overrides=[*method.options, *own], base=self.base)
        return Trial(method, size, seed, config)


def named_size(size: Size) -> str:
    """``ROWSxCOLUMNS``."""
    return f"{size[0]}x{size[1]}"


def methods_of(samplers: Sequence[str], own_options: Sequence[str] = ()) -> list[Method]:
    """Methods as the command line names them.

    Args:
        samplers: ``uniform``, ``python:MODULE.CLASS``, or ``published=deformation`` for a method of
            another name.
        own_options: ``METHOD:section.key=value`` each, for one method only.

    Raises:
        UsageError: for a sampler or a method that there is not, or one that stands twice.
        InvalidInput: for a name that no folder can have.
    """
    pairs = [_named_sampler(text) for text in samplers]
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name!r} stands twice; give one of them a name: NAME={name}")
    own: dict[str, list[str]] = {name: [] for name in names}
    for text in own_options:
        name, colon, option = text.partition(":")
        if not colon or "=" not in option:
            raise UsageError(f"expected SAMPLER:section.key=value, but got {text!r}")
        if name not in own:
            raise UsageError(f"no sampler {name!r} in this comparison; {nearest_name(name, names)}")
        own[name].append(option)
    return [Method(name, (f"sampler.name={sampler}", *own[name])) for name, sampler in pairs]


def _named_sampler(text: str) -> tuple[str, str]:
    """The name of a method, and its sampler: of ``NAME=SAMPLER``, or the sampler's own name."""
    name, _, sampler = text.rpartition("=")
    try:
        return name or recipe_class(sampler).name, sampler
    except InvalidInput as error:
        if sampler.startswith(CODE_PREFIX):
            raise UsageError(str(error)) from error
        raise UsageError(f"unknown sampler {sampler!r}; {nearest_name(sampler, recipes())}") from error


def trials_of(config: ComparisonConfig, methods: Sequence[Method]) -> list[Trial]:
    """Every run of a comparison: small sizes first, then seed by seed, then method by method.

    Raises:
        UsageError: for an option that there is not.
        InvalidInput: when a size is larger than the smallest image.
    """
    for size in config.sizes if not config.base.sampler.fit else ():
        _require_smaller(size, config)
    return [
        config.trial(method, size, seed)
        for size in config.sizes
        for seed in config.seeds
        for method in methods
    ]


def _require_smaller(size: tuple[int, int], config: ComparisonConfig) -> None:
    smallest = config.data.sizes()
    rows, columns = (min(side) for side in zip(*smallest, strict=True))
    if size[0] > rows or size[1] > columns:
        expected = f"no larger than the smallest image ({named_size((rows, columns))})"
        raise InvalidInput("size", expected, named_size(size), "leave it out, or compare on larger images")
