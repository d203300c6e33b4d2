"""``predict`` and ``plan``: the functions behind the commands of these names."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.api.opening import RunSource, ValueRange, limits_of, on_device, run_of
from saccade.data.label_drawing import open_vectors
from saccade.data.region import Region
from saccade.errors import InvalidInput, UsageError
from saccade.inference.engine import OnnxNetworks, require_engine
from saccade.inference.files import (
    ZONES,
    ListedJob,
    left_out,
    list_jobs,
    make_folder,
    parse_extras,
    parse_kinds,
    remove_left,
    still_to_do,
)
from saccade.inference.jobs import (
    Outcome,
    Worker,
    predict_all,
    predict_in_processes,
    predict_one,
    require_predictor,
)
from saccade.inference.objects import LeastArea, ObjectChoice, Tolerance
from saccade.inference.options import (
    SamplingKeywords,
    SamplingOptions,
    parse_seconds,
    require_known,
    sampling_of,
)
from saccade.inference.plan import Plan, make_plan
from saccade.inference.predict import PredictionConfig, predict_array
from saccade.inference.region import region_part
from saccade.runtime.addresses import Address, path_of
from saccade.runtime.cluster import connected, distributed, local_workers
from saccade.runtime.devices import devices_of, enough_memory
from saccade.runtime.files import Held
from saccade.runtime.plugins import GIVEN_PREFIX
from saccade.runtime.progress import Progress, Voice
from saccade.runtime.trust import trusting
from saccade.segmenter import Segmenter
from saccade.sources import AnyImage, opened_raster
from saccade.training.downsampling import training_downsampling
from saccade.training.run_folder import Run
from saccade.training.scores_by_size import known_scores

Paths = Path | str | Sequence[Path | str]
"""Images, folders of images, or ``.txt`` lists of paths."""


class PredictOptions(SamplingKeywords, total=False):
    """How images are predicted, beside how closely to look.

    Attributes:
        save: what is written of each image, of "labels,scores,density,samples,overlay,polygons,uncertainty,
            table", or a list; "polygons.gpkg", "polygons.fgb" and "table.parquet" name another format than
            GeoJSON and CSV.
        classes: whose objects are polygons and rows of the table, names or "boat,land"; default all but a
            class named as a background.
        min_area: objects that are smaller are left out: "50" (pixels), "50um2", "2.5m2".
        fill_holes: holes of polygons that are smaller are filled, likewise; "all" of them.
        simplify: how far the outlines of polygons may move: "2" (pixels), "1.5um", "3m"; borders stay shared.
        zones: a vector file of polygons: areas by class in each are written as a table.
        checkpoint: "best" or "last"; default best, or that of the model.
        value_range: sample values of black and white; default as trained, else by the file.
        jobs: images at a time, one process each; default 1.
        total_seconds: for all images together, in the place of a budget for each; about equal shares.
        cluster: where Dask shares the work out, parts of huge images too: "local:N", N processes here, or the
            address of a scheduler, "tcp://host:8786".
        client: of Dask, in place of ``cluster``.
        resume: leave out what is done, and go on with what was begun.
        overwrite: replace what is there.
        device: where networks run; default auto, or where the model is. "cuda:0,1" shares images, and
            parts of huge ones, out among both, by Dask; with ``jobs`` images alone, and without it.
        region: where alone there are labels: "XMIN,YMIN,XMAX,YMAX" in map coordinates (in pixels of an image
            without any), or a file of polygons.
        engine: what runs them: "torch" (default), or "onnx", onnxruntime on the CPU.
        allow_code: run the code that the run's options name (``python:...``): only of people you trust.
    """

    save: str | Sequence[str]
    classes: str | Sequence[str] | None
    min_area: str | float | None
    fill_holes: str | float | None
    simplify: str | float | None
    zones: str | Path | None
    checkpoint: str | None
    value_range: ValueRange
    jobs: int
    total_seconds: str | float | None
    cluster: str | None
    client: Any
    resume: bool
    overwrite: bool
    device: str | None
    region: str | Path | None
    engine: str
    allow_code: bool


@dataclass(frozen=True)
class _Prediction:
    """A prediction whose options are checked."""

    run: Run
    listed: list[ListedJob]
    jobs: list[ListedJob]
    settings: PredictionConfig
    processes: int = 1
    worker: Worker | None = None
    total_seconds: float | None = None
    cluster: str | None = None
    client: Any = None


def _sampling_of(options: Mapping[str, Any], known: type) -> SamplingOptions:
    """How closely to look, of all options of a function, whose names are checked.

    Raises:
        UsageError: for an option that there is not, with the nearest that there is.
        InvalidInput: for a value that is not allowed.
    """
    require_known(options, known)
    closeness = SamplingKeywords.__annotations__
    return sampling_of({name: value for name, value in options.items() if name in closeness})


def _extras_of(save: str | Sequence[str]) -> tuple[str, ...]:
    return parse_extras(save if isinstance(save, str) else ",".join(save))


def _kinds_of(save: str | Sequence[str]) -> tuple[str, ...]:
    return parse_kinds(save if isinstance(save, str) else ",".join(save))


def _choice_of(run: Run, options: Mapping[str, Any]) -> ObjectChoice:
    named, least = options.get("classes"), options.get("min_area")
    listed = named.split(",") if isinstance(named, str) else named
    classes = None if listed is None else tuple(name.strip() for name in listed)
    fill, simplify = options.get("fill_holes"), options.get("simplify")
    choice = ObjectChoice(
        classes,
        LeastArea() if least is None else LeastArea.parse(str(least)),
        LeastArea() if fill is None else LeastArea.parse(str(fill), "--fill-holes"),
        Tolerance() if simplify is None else Tolerance.parse(str(simplify)),
    )
    choice.left_out(run.classes)
    return choice


def _region_of(options: Mapping[str, Any]) -> Region | None:
    region = options.get("region")
    return None if region is None else Region.parse(str(region))


def _settings(run: Run, sampling: Any, options: Mapping[str, Any]) -> PredictionConfig:
    return PredictionConfig(
        run.classes, sampling, training_downsampling(run), limits_of(options.get("value_range"), run),
        resume=options.get("resume", False), overwrite=options.get("overwrite", False),
        choice=_choice_of(run, options), region=_region_of(options),
        zones=None if options.get("zones") is None else Path(options["zones"]),
    )  # fmt: skip


def _prepared(
    source: RunSource, inputs: Sequence[Path], out: Path, options: Mapping[str, Any]
) -> _Prediction:
    extras, sampling = _extras_of(options.get("save", "labels")), _sampling_of(options, PredictOptions)
    kinds = _kinds_of(options.get("save", "labels"))
    processes, device = options.get("jobs", 1), options.get("device")
    for name in ("fill_holes", "simplify"):
        if options.get(name) is not None and "polygons" not in extras:
            raise UsageError(f"{name} is of polygons: add polygons to save")
    if options.get("zones") is not None:
        open_vectors(Path(options["zones"]))  # refused once, before the first image
        extras = (*extras, ZONES)
    if not {"polygons", "table"} & set(extras):
        for name in ("classes", "min_area"):
            if options.get(name) is not None:
                raise UsageError(
                    f"{name} chooses polygons and rows of the table: add polygons or table to save"
                )
    if processes < 1:
        raise UsageError(f"--jobs is at least 1, not {processes}")
    resume, overwrite = options.get("resume", False), options.get("overwrite", False)
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other")
    total = _total_seconds(sampling, options)
    listed = list_jobs(inputs, out, extras, kinds)
    jobs = still_to_do(listed, resume=resume, overwrite=overwrite)
    devices = devices_of(device or "auto")
    _require_engine(options, sampling)
    run = run_of(source, options.get("checkpoint"))
    require_predictor(run.segmenter, extras)
    processes = min(processes, len(jobs))
    cluster, client = options.get("cluster"), options.get("client")
    if (cluster is not None) + (client is not None) + (options.get("jobs", 1) > 1) > 1:
        raise UsageError("of jobs, cluster and client one alone shares the work out")
    if (cluster is not None or client is not None) and sampling.seconds is not None:
        raise UsageError("--seconds is measured on one machine: leave it or --cluster out")
    if len(devices) > 1:
        _require_sharing(options, sampling)
        if cluster is None and options.get("jobs", 1) == 1:
            cluster = f"local:{len(devices)}"
    worker = None
    if processes > 1 or cluster is not None or client is not None:
        if not isinstance(source, str | Path):
            without_name = run.config.network.name.startswith(GIVEN_PREFIX)
            fix = "leave jobs, cluster and client out" if without_name else f"give its folder, {run.path}"
            raise InvalidInput(
                "run", "a folder where processes share the work: each loads it", "a model", fix
            )
        local = local_workers(cluster)
        sharing = local or processes
        # Of workers elsewhere nobody knows here how many share a machine.
        elsewhere = client is not None or (cluster is not None and local is None)
        threads = 0 if elsewhere else max(1, torch.get_num_threads() // max(1, sharing))
        worker = Worker(run.path.absolute(), run.checkpoint, device or "auto", threads)
    settings = _settings(run, sampling, options)
    return _Prediction(run, listed, jobs, settings, processes, worker, total, cluster, client)


def _require_sharing(options: Mapping[str, Any], sampling: SamplingOptions) -> None:
    """Refuses what one process alone, or nobody here, can do on several devices."""
    device = options.get("device")
    if sampling.seconds is not None or options.get("total_seconds") is not None:
        raise UsageError(f"seconds are measured on one device, not on {device}: leave one of them out")
    cluster = options.get("cluster")
    if options.get("client") is not None or (cluster is not None and local_workers(cluster) is None):
        fix = "start a worker for each of its devices, and leave --device out"
        raise UsageError(f"--device {device} is of this machine, and a cluster has its own: {fix}")


def _total_seconds(sampling: SamplingOptions, options: Mapping[str, Any]) -> float | None:
    """Seconds for all images; refused beside what says how closely each is looked at."""
    budget = options.get("total_seconds")
    if budget is None:
        return None
    total = parse_seconds(str(budget), "--total-seconds")
    if sampling != SamplingOptions(
        sampling.mode,
        overlap=sampling.overlap,
        memory=sampling.memory,
        skip=sampling.skip,
        tile=sampling.tile,
    ):
        raise UsageError(
            "--total-seconds decides how closely each image is looked at: leave --size, --pixels, "
            "--gflops, --seconds, --mpp and --gsd out"
        )
    if options.get("jobs", 1) != 1 or options.get("cluster") or options.get("client"):
        raise UsageError("--total-seconds is shared out in one process: leave --jobs and --cluster out")
    return total


@overload
def predict(
    run: RunSource,
    images: Paths,
    out: Path | str,
    *,
    progress: bool | None = None,
    **options: Unpack[PredictOptions],
) -> list[Outcome]: ...


@overload
def predict(
    run: RunSource,
    images: AnyImage,
    out: None = None,
    *,
    progress: bool | None = None,
    **options: Unpack[PredictOptions],
) -> NDArray[np.integer]: ...


@overload
def predict(
    run: RunSource,
    images: list[Any] | tuple[Any, ...],
    out: None = None,
    *,
    progress: bool | None = None,
    **options: Unpack[PredictOptions],
) -> list[NDArray[np.integer]]: ...


def predict(
    run: RunSource,
    images: Any,
    out: Path | str | None = None,
    *,
    progress: bool | None = None,
    **options: Unpack[PredictOptions],
) -> Any:
    """Full-resolution labels of images, as ``saccade predict`` writes them.

    Args:
        run: a run folder, or a loaded model; both give the same bytes. Or a segmenter made in Python,
            whose classes are numbered where it has no table of them.
        images: paths of images, folders of images or ``.txt`` lists, or addresses (texts that begin with
            ``https://``, ``s3://``, ``gs://`` or ``zip://``) of TIFF and Zarr images; without ``out`` also
            arrays (H, W, 3), tensors, PIL images or open rasters. One, or a list.
        out: the folder for the labels, in the format of each image; None: nothing is written.
        progress: whether to say what goes on; default on a terminal or in a notebook.
        **options: see :class:`PredictOptions` and :class:`saccade.inference.options.SamplingKeywords`.

    Returns:
        With ``out`` a list of an :class:`saccade.inference.Outcome` for each image that was done: ``labels``,
        the path; ``notices``; ``fault``, what went wrong while others went on. Without ``out`` the
        labels, (H, W) indices of the data set, of one image; a list of them for a list.

    Raises:
        FileProblem, InvalidInput: the fault of an image that was given alone, not in a list; of any without
            ``out``; for a run, input or output that is not there or cannot be used.
        UsageError: for an option that there is not, with the nearest that there is.

    Examples:
        >>> import numpy as np
        >>> import saccade
        >>> from PIL import Image
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> run = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> image = sorted((data / "images").iterdir())[0]
        >>> (outcome,) = saccade.predict("run", image, "labels", device="cpu")
        >>> labels = saccade.predict(run, np.asarray(Image.open(image)))
        >>> labels.shape, bool((labels == np.asarray(Image.open(outcome.labels))).all())
        ((32, 48), True)
    """
    with trusting(code=options.get("allow_code", False)):
        return _predicted(run, images, out, options, Voice(progress))


def _predicted(
    run: RunSource, images: Any, out: Path | str | None, options: Mapping[str, Any], voice: Voice
) -> Any:
    if out is None:
        return _arrays(run, images, options, voice)
    alone = isinstance(images, str | Path)
    inputs = [path_of(images)] if alone else _paths(images)
    ready = _prepared(run, inputs, Path(out), options)
    for line in left_out(inputs):
        voice.say(f"note: {line}")
    if len(ready.jobs) < len(ready.listed):
        left = {job.image for job in ready.jobs}
        remove_left(job for job in ready.listed if job.image not in left)
        before = len(ready.listed) - len(ready.jobs)
        voice.say(f"{before} of {len(ready.listed)} images were labelled before")
    ready = _placed(run, ready, options)
    make_folder(Path(out))
    outcomes = _carried_out(ready, voice)
    if alone and len(ready.listed) == 1:
        for outcome in outcomes:
            if outcome.fault is not None:
                raise outcome.fault
    return outcomes


def _placed(source: RunSource, ready: _Prediction, options: Mapping[str, Any]) -> _Prediction:
    """With the networks where they are to run."""
    if options.get("engine", "torch") == "torch":
        on_device(source, ready.run, _first_device(options))
        return ready
    networks = _in_onnxruntime(source, ready.run)
    worker = None if ready.worker is None else replace(ready.worker, device="cpu", networks=networks)
    run = replace(ready.run, segmenter=networks.segmenter(ready.run.segmenter))
    return replace(ready, run=run, worker=worker)


def _first_device(options: Mapping[str, Any]) -> str | None:
    device = options.get("device")
    return None if device is None else devices_of(device)[0]


def _require_engine(options: Mapping[str, Any], sampling: SamplingOptions) -> None:
    engine = options.get("engine", "torch")
    require_engine(engine, options.get("device"))
    if engine == "onnx" and sampling.gflops is not None:
        raise UsageError("--gflops counts what PyTorch does; give --pixels or --seconds for --engine onnx")


def _in_onnxruntime(source: RunSource, run: Run) -> OnnxNetworks:
    place = on_device(source, run, None if not isinstance(source, str | Path) else "cpu")
    require_engine("onnx", str(place))
    return OnnxNetworks.of(run.segmenter, len(run.classes))


def _paths(images: Any) -> list[Path]:
    if not isinstance(images, list | tuple) or not all(isinstance(image, str | Path) for image in images):
        expected = "paths where they are written to a folder"
        raise InvalidInput(
            "images", expected, type(images).__name__, "without out, labels come back as arrays"
        )
    return [path_of(image) for image in images]


def describe_prediction(
    run: RunSource, images: Sequence[Path], out: Path, **options: Unpack[PredictOptions]
) -> list[str]:
    """What :func:`predict` would write, ``IMAGE -> FILE`` each; everything is checked, nothing is done.

    Raises:
        SaccadeError: as :func:`predict`.
    """
    ready = _prepared(run, images, out, options)
    return [f"{job.image} -> {path}" for job in ready.jobs for path in job.outputs]


OVER = 1.05
"""Of a time for all images, from which on it is said that more was taken."""


def _carried_out(ready: _Prediction, voice: Voice) -> list[Outcome]:
    outcomes, began = [], time.monotonic()
    with voice.progress("predicting", len(ready.jobs), "images") as shown:
        for outcome in _outcomes(ready, shown):
            shown.advance(note="")
            outcomes.append(outcome)
    if not ready.settings.overwrite:
        outcomes = [_by_another(outcome) for outcome in _waited_for(ready, outcomes, voice)]
    others = sum(outcome.done is None and outcome.fault is None for outcome in outcomes)
    if others:
        voice.say(f"{others} image{'s were' if others > 1 else ' was'} labelled by another program meanwhile")
    notices = Counter(notice for outcome in outcomes for notice in outcome.notices)
    for notice, count in sorted(notices.items()):
        voice.say(f"note: {notice}: {count} image{'s' if count > 1 else ''}")
    taken, total = time.monotonic() - began, ready.total_seconds
    if total is not None and taken > OVER * total:
        voice.say(f"note: {taken:.0f} s were taken, not {total:g}: the machine was busier than when timed")
    return outcomes


def _waited_for(ready: _Prediction, outcomes: list[Outcome], voice: Voice) -> list[Outcome]:
    """The images that another program was at when it was their turn: as soon as it is done, or is no longer
    there, which leaves them to this one. An image that was named alone is refused instead."""
    held = [n for n, outcome in enumerate(outcomes) if isinstance(outcome.fault, Held)]
    if held and len(ready.listed) > 1:
        voice.say(f"waiting for {len(held)} image{'s' if len(held) > 1 else ''} that another program is at")
        settings = replace(ready.settings, resume=True)
        for n in held:
            while isinstance(outcomes[n].fault, Held):
                time.sleep(LOOKS_AGAIN)
                outcomes[n] = predict_one(ready.run.segmenter, ready.jobs[n], settings)
    return outcomes


def _by_another(outcome: Outcome) -> Outcome:
    """An image that could not be labelled here, since complete labels were there: none were at the start."""
    job = outcome.job
    return (
        Outcome(job) if outcome.fault is not None and isinstance(job, ListedJob) and job.is_done else outcome
    )


LOOKS_AGAIN = 0.5
"""Seconds between looks at an image that another program is at."""


def _outcomes(ready: _Prediction, shown: Progress) -> Iterator[Outcome]:
    def within(share: float) -> None:
        shown.update(shown.done, note=f"{share:.0%} of this one")

    if ready.worker is None:
        total = ready.total_seconds
        return predict_all(
            ready.run.segmenter, ready.jobs, ready.settings, on_progress=within, total_seconds=total
        )
    if ready.cluster is None and ready.client is None:
        return predict_in_processes(ready.worker, ready.jobs, ready.settings, ready.processes)
    return _on_cluster(ready, within)


def _on_cluster(ready: _Prediction, within: Callable[[float], None]) -> Iterator[Outcome]:
    distributed()  # or a line that says what is missing
    from saccade.inference.cluster import predict_on_cluster

    assert ready.worker is not None
    if not ready.jobs:
        return
    connection = nullcontext(ready.client) if ready.client is not None else connected(str(ready.cluster))
    jobs = [_absolute(job) for job in ready.jobs]
    with connection as client:
        yield from predict_on_cluster(
            client, ready.worker, ready.run.segmenter, jobs, ready.settings, on_progress=within
        )


def _absolute(job: ListedJob) -> ListedJob:
    """For workers in other folders."""
    image = job.image if isinstance(job.image, Address) else job.image.absolute()
    return replace(job, image=image, folder=job.folder.absolute())


def _arrays(source: RunSource, images: Any, options: Mapping[str, Any], voice: Voice) -> Any:
    for name in (
        "resume",
        "overwrite",
        "classes",
        "min_area",
        "fill_holes",
        "simplify",
        "zones",
        "total_seconds",
        "cluster",
        "client",
    ):
        if options.get(name):
            raise UsageError(f"{name} is for files; give a folder for them, as out")
    if _extras_of(options.get("save", "labels")) or options.get("jobs", 1) != 1:
        raise UsageError("save and jobs are for files; give a folder for them, as out")
    if len(devices_of(options.get("device") or "auto")) > 1:
        raise UsageError("several devices share files; give a folder for them, as out")
    sampling = _sampling_of(options, PredictOptions)
    _require_engine(options, sampling)
    run = run_of(source, options.get("checkpoint"))
    require_predictor(run.segmenter)
    ready = _placed(source, _Prediction(run, [], [], _settings(run, sampling, options)), options)
    run, settings = ready.run, ready.settings
    several = isinstance(images, list | tuple)
    labels = []
    with voice.progress("predicting", len(images) if several else 1, "images") as shown:
        for image in images if several else [images]:
            with enough_memory("an image is too large: try memory=, or a smaller size="):
                labels.append(predict_array(run.segmenter, image, settings))
            shown.advance()
    return labels if several else labels[0]


class PlanOptions(SamplingKeywords, total=False):
    """What a plan is of, beside how closely to look: as :class:`PredictOptions`."""

    save: str | Sequence[str]
    checkpoint: str | None
    value_range: ValueRange
    device: str | None
    region: str | Path | None
    engine: str
    allow_code: bool


def plan(image: AnyImage, run: RunSource, **options: Unpack[PlanOptions]) -> Plan:
    """What a prediction would cost, as ``saccade plan`` foresees it: nothing is predicted; a blank view is
    scored a few times and a tile of the file is read, to measure both.

    Args:
        image: a path, or what else :func:`predict` takes.
        run: a run folder, a loaded model, or a segmenter made in Python.
        **options: as for :func:`predict`.

    Returns:
        Samples, operations, memory and time, and why; a notebook shows them.

    Raises:
        FileProblem: for an image or a run that is not there, or is damaged.
        InvalidInput: when the wishes do not fit the image, or the memory does not suffice.
        UsageError: for an option that there is not, with the nearest that there is.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> run = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> foreseen = saccade.plan(sorted((data / "images").iterdir())[0], run)
        >>> foreseen.size, foreseen.pixels, foreseen.format
        ((32, 48), 96, '.png')
    """
    extras, sampling = _extras_of(options.get("save", "labels")), _sampling_of(options, PlanOptions)
    region = _region_of(options)
    _require_engine(options, sampling)
    devices_of(options.get("device") or "auto")
    with trusting(code=options.get("allow_code", False)):
        opened_run = run_of(run, options.get("checkpoint"))
    limits, reading = limits_of(options.get("value_range"), opened_run), opened_run.segmenter.reading
    with opened_raster(image, value_range=limits, reading=reading) as raster:
        require_predictor(opened_run.segmenter, extras)
        on_device(run, opened_run, _first_device(options))
        part, _ = region_part(raster, region)

        def planned(segmenter: Segmenter) -> Plan:
            return make_plan(
                part, segmenter, sampling, len(opened_run.classes),
                training_downsampling=training_downsampling(opened_run), extras=extras,
                known=known_scores(opened_run),
            )  # fmt: skip

        found = planned(opened_run.segmenter)
        if options.get("engine", "torch") == "torch":
            return found
        # Operations are counted in PyTorch alone; memory and time are those of onnxruntime.
        timed = planned(_in_onnxruntime(run, opened_run).segmenter(opened_run.segmenter))
        pairs = zip(timed.ladder, found.ladder, strict=True)
        ladder = tuple(replace(rung, gflops=counted.gflops) for rung, counted in pairs)
        return replace(timed, gflops=found.gflops, ladder=ladder)
