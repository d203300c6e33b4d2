"""The runs of a comparison on a Dask cluster: a worker each; where it dies, another goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from distributed import as_completed, get_worker

from saccade.data import SampleCache
from saccade.errors import SaccadeError
from saccade.lab.methods import ComparisonConfig
from saccade.lab.runner import OnProgress, TrialJob, do_trial, plain_parts, removed
from saccade.lab.state import write_failure
from saccade.runtime.cluster import worker_count
from saccade.runtime.cluster_tasks import answer, taken_back, task, told, wanted
from saccade.training.loop import Interrupted


@dataclass(frozen=True)
class Work:
    """What a worker needs to know beside the run.

    Attributes:
        plain: the comparison, without what belongs to a process.
        out: the folder of the runs, which is on a disk that all share.
        cache_bytes: memory for decoded images; 0: by what the worker's machine has.
        threads: of each worker; 0: as many as it has.
        topic: where it tells how it goes.
    """

    plain: dict[str, Any]
    out: Path
    cache_bytes: int
    threads: int
    topic: str


def run_on_cluster(
    client: Any,
    config: ComparisonConfig,
    queue: Sequence[TrialJob],
    on_progress: OnProgress,
    *,
    local: int | None = None,
) -> None:
    """As :func:`saccade.lab.runner.run_all`, each run by a worker of a cluster, one at a time.

    A run whose worker dies is given to another, which goes on from its last finished epoch.

    Args:
        client: of Dask; data and the folder of the runs have the same paths on its workers as here.
        config, queue, on_progress: as there.
        local: how many workers share this machine; None where nobody knows.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the workers stop after their present step, and what was done is kept.
        SaccadeError: the cluster is gone.
    """
    if not queue:
        return
    trials = {job.trial.name: job.trial for job in queue}
    threads = 0 if local is None else max(1, torch.get_num_threads() // local)
    cache_bytes = 0 if local is None else config.cache.limit_bytes // local
    out = queue[0].root.parent.absolute()
    topic = f"saccade-{uuid4().hex}"
    work = Work(plain_parts(config), out, cache_bytes, threads, topic)

    def hear(event: tuple[float, tuple[str, float, str]]) -> None:
        name, share, line = event[1]
        on_progress(trials[name], share, line)

    following, doing = iter(queue), dict[Any, TrialJob]()
    client.subscribe_topic(topic, hear)
    try:
        with told(client, work) as name, taken_back(client, doing):
            ended = as_completed(loop=client.loop)
            while True:
                while len(doing) < worker_count(client) and (job := next(following, None)) is not None:
                    removed(job)  # here: whoever goes on after a dead worker must not begin anew
                    future = client.submit(_run, name, job.trial, job.root.absolute(), pure=False)
                    doing[future] = job
                    ended.add(future)
                if not doing:
                    return
                future = next(ended)
                job = doing[future]
                try:
                    answer(future, job.root)
                except SaccadeError as fault:
                    if client.status != "running":
                        raise
                    write_failure(job.root, str(fault))
                del doing[future]
    finally:
        if client.status == "running":
            client.unsubscribe_topic(topic)


@task
def _run(work: Work, trial: Any, root: Path) -> None:
    """On a worker: trains and evaluates; a failure is kept in the folder of the run."""
    if not work.out.is_dir():
        fix = "put OUT on a disk that all workers share"
        raise SaccadeError(f"{work.out}: expected the folder of the comparison on every worker too; {fix}")
    if work.threads:
        torch.set_num_threads(work.threads)
    worker = get_worker()

    def tell(share: float, line: str) -> None:
        if not wanted():
            raise Interrupted("nobody waits for this run any more")
        worker.log_event(work.topic, (trial.name, share, line))

    try:
        do_trial(_config(work), trial, root, tell)
    except (Interrupted, KeyboardInterrupt):
        return


_configs: dict[str, ComparisonConfig] = {}
"""The comparison of the last run, with its decoded images."""


def _config(work: Work) -> ComparisonConfig:
    if work.topic not in _configs:
        _configs.clear()
        _configs[work.topic] = ComparisonConfig(**work.plain, cache=SampleCache(work.cache_bytes or None))
    return _configs[work.topic]
