"""Many images: one that fails does not stop the others, and several processes share the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from saccade.errors import InvalidInput, SaccadeError, UsageError
from saccade.inference.budget import BeyondBudget, Pace, Timing
from saccade.inference.engine import OnnxNetworks
from saccade.inference.estimate import WARM, least_told
from saccade.inference.files import Job, ListedJob, claim_of, still_to_do
from saccade.inference.predict import Done, PredictionConfig, RowsElsewhere, predict_image
from saccade.runtime.devices import dealt_out, enough_memory
from saccade.runtime.files import claimed
from saccade.runtime.memory import resident_memory
from saccade.runtime.processes import Killed, run_jobs
from saccade.segmenter import Segmenter

OnProgress = Callable[[float], None]
"""Called with the share of the present image that is done, 0 to 1."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``done``, or the ``fault`` that it met; neither where another program had
    finished it meanwhile.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.errors import FileProblem
        >>> from saccade.inference import Job, Outcome
        >>> fault = FileProblem(Path("photo.jpg"), "an image", "a text")
        >>> outcome = Outcome(Job(Path("photo.jpg"), Path("photo.png")), fault=fault)
        >>> outcome.done is None, str(outcome.fault)
        (True, 'photo.jpg: expected an image, but got a text')
    """

    job: Job | ListedJob
    done: Done | None = None
    fault: SaccadeError | None = None

    @property
    def labels(self) -> Path | None:
        """Where the labels are; None where there are none."""
        return None if self.done is None else self.done.labels

    @property
    def notices(self) -> tuple[str, ...]:
        """What was done to the image on the way, one line each."""
        return () if self.done is None else self.done.notices


def require_predictor(segmenter: Segmenter, extras: Iterable[str] = ()) -> None:
    """Refuses what a segmenter cannot give of any image.

    Raises:
        UsageError: for a sampler that sees the true labels, or the density of one that predicts none.

    Examples:
        >>> import saccade
        >>> from saccade.inference import require_predictor
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> require_predictor(segmenter, extras=["density"])
        Traceback (most recent call last):
        ...
        saccade.errors.UsageError: UniformSampler predicts no density; leave density out of --save
    """
    name = type(segmenter.sampler).__name__
    if segmenter.sampler.sees_labels:
        raise UsageError(f"{name} sees the true labels, so it predicts nothing; it can only be evaluated")
    if "density" in extras and not segmenter.sampler.has_density:
        raise UsageError(f"{name} predicts no density; leave density out of --save")


def predict_one(
    segmenter: Segmenter,
    job: Job | ListedJob,
    settings: PredictionConfig,
    on_progress: OnProgress | None = None,
    elsewhere: RowsElsewhere | None = None,
) -> Outcome:
    """Predicts one job; a fault of the image, the disk or the memory is handed back, a defect is raised.

    No other program may be at it: of two that predict the same images into one folder, each does what the
    other has not begun, and with ``resume`` passes over what the other has finished.
    """
    try:
        with (
            claimed(claim_of(job), job.image),
            enough_memory(f"{job.image} is too large: try --memory, or a smaller --size"),
        ):
            if isinstance(job, ListedJob) and not still_to_do(
                [job], resume=settings.resume, overwrite=settings.overwrite
            ):
                return Outcome(job)
            done = predict_image(segmenter, job, settings, on_progress=on_progress, elsewhere=elsewhere)
            return Outcome(job, done)
    except SaccadeError as fault:
        return Outcome(job, fault=fault)


def predict_all(
    segmenter: Segmenter,
    jobs: Iterable[Job | ListedJob],
    settings: PredictionConfig,
    *,
    on_progress: OnProgress | None = None,
    total_seconds: float | None = None,
) -> Iterator[Outcome]:
    """Predicts every job here, in order.

    Args:
        segmenter: on the device where it is to run.
        jobs: the images and their outputs.
        settings: of the run.
        on_progress: called with the share of the present image that is done.
        total_seconds: for all jobs together, in the place of a budget for each.

    Raises:
        InvalidInput: before the first job, when the memory suffices for no image at all; when the total is
            below what the images take at least.

    Examples:
        >>> import saccade
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from pathlib import Path
        >>> from saccade.inference import PredictionConfig, list_jobs, make_folder, predict_all
        >>> jobs = list_jobs([Path("leaves/images")], Path("labels"))
        >>> make_folder(Path("labels"))
        >>> outcomes = list(predict_all(segmenter, jobs, PredictionConfig(data.classes)))
        >>> [outcome.fault for outcome in outcomes] == [None] * 7, outcomes[0].done.labels.name
        (True, 'image_000000.png')
    """
    _require_memory(settings.sampling.memory, 1)
    jobs = list(jobs)
    if total_seconds is None and settings.sampling.seconds is None:
        for job in jobs:
            yield predict_one(segmenter, job, settings, on_progress)
        return
    pace, timing = Pace(settings.sampling, len(jobs), total_seconds), Timing.of(segmenter)
    for job in jobs:
        start, before = pace.clock(), timing.spent
        sampling = pace.next()
        outcome = predict_one(segmenter, job, replace(settings, sampling=sampling), on_progress)
        least = pace.least(outcome.fault) if isinstance(outcome.fault, BeyondBudget) else None
        if least is not None:
            outcome = predict_one(segmenter, job, replace(settings, sampling=least), on_progress)
        elapsed = pace.clock() - start - (timing.spent - before)
        pace.took(None if outcome.done is None else outcome.done.layout.foreseen, elapsed)
        yield outcome


def _require_memory(memory: int | None, processes: int) -> None:
    """Refuses at once what every single image would be refused for: less than the program takes without any.

    Beside several processes there is this one, which starts them.
    """
    here = resident_memory()
    least = processes * (here + WARM) + (here if processes > 1 else 0)
    if memory is not None and memory < least:
        expected = f"at least {least_told(least)}, what the program takes without any image"
        fix = "use fewer --jobs" if processes > 1 else "leave it out, or give 2GB"
        raise InvalidInput("--memory", expected, f"{memory // 10**6}MB", fix)


@dataclass(frozen=True)
class Worker:
    """What a process needs to make the segmenter for itself.

    Attributes:
        run_folder, checkpoint: where the weights are.
        device: where the networks run; of several each process takes one.
        threads: of each process.
        networks: as onnxruntime is to run them; None where PyTorch does.
    """

    run_folder: Path
    checkpoint: str
    device: str
    threads: int
    networks: OnnxNetworks | None = None


def predict_in_processes(
    worker: Worker, jobs: Sequence[Job | ListedJob], settings: PredictionConfig, processes: int
) -> Iterator[Outcome]:
    """Predicts the jobs in several processes, each with its share of threads and of the memory that this
    one leaves; outcomes come in the order of the jobs.

    A process that the system kills ends its image with a fault; another takes its place.

    Raises:
        InvalidInput: before the first job, when the memory suffices for no image at all.
    """
    sampling = settings.sampling
    _require_memory(sampling.memory, processes)
    share = None if sampling.memory is None else max(0, sampling.memory - resident_memory()) // processes
    settings = replace(settings, sampling=replace(sampling, memory=share))
    ready: dict[int, Outcome] = {}
    following = 0
    with closing(run_jobs(jobs, processes, _begin, worker, settings)) as ended:
        for number, result in ended:
            ready[number] = _lost(jobs[number], result) if isinstance(result, Killed) else result
            while following in ready:
                yield ready.pop(following)
                following += 1


def _lost(job: Job | ListedJob, killed: Killed) -> Outcome:
    line = f"{job.image}: the process that worked on it was killed ({killed.how})"
    way_out = "memory may have run out: use fewer --jobs, and --resume"
    return Outcome(job, fault=SaccadeError(f"{line}; {way_out}"))


def _begin(
    number: int, worker: Worker, settings: PredictionConfig
) -> Callable[[Job | ListedJob, object], Outcome]:
    """Runs once in each process, which is its own master: its threads are nobody else's."""
    from saccade.training.run_folder import load_run

    torch.set_num_threads(worker.threads)
    segmenter = load_run(worker.run_folder, worker.checkpoint).segmenter
    segmenter = segmenter.to(dealt_out(worker.device, number))
    if worker.networks is not None:
        segmenter = worker.networks.segmenter(segmenter)
    return lambda job, _: _sendable(predict_one(segmenter, job, settings))


def _sendable(outcome: Outcome) -> Outcome:
    """The fault travels as its message: errors that are made of several arguments cannot be sent."""
    return outcome if outcome.fault is None else replace(outcome, fault=SaccadeError(outcome.fault.written))
