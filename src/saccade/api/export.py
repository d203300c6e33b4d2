"""``export``: the function behind the command of this name."""

from __future__ import annotations

from pathlib import Path

from saccade.api.opening import RunSource, run_of
from saccade.inference.export import export_run
from saccade.runtime.trust import trusting


def export(
    run: RunSource,
    file: Path | str,
    *,
    checkpoint: str | None = None,
    overwrite: bool = False,
    allow_code: bool = False,
) -> list[Path]:
    """Writes the networks of a run for other programs, as ``saccade export`` does.

    The file holds the segmentation network: ``pixels`` (B, 3, h, w) float32, normalised, to ``scores``
    (B, K, h, w), any B, h and w. The density net of a sampler that has one lies beside it, in
    ``NAME.density.onnx``. Classes, mean, std and the sampler's options are in the metadata.

    Args:
        run: a run folder, a loaded model, or a segmenter made in Python.
        file: ends in ``.onnx``, or in ``.pt2`` for ``torch.export``.
        checkpoint: "best" or "last"; default best, or that of the model.
        overwrite: replace what is there.
        allow_code: run the code that the run's options name (``python:...``): only of people you trust.

    Returns:
        The files that were written, the segmentation network first.

    Raises:
        FileProblem: for a run that is not there, another suffix, or a file that is there already.
        SaccadeError: for a sampler or network without export, or where onnx is not installed.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> run = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> [path.name for path in saccade.export(run, "sea.onnx")]
        ['sea.onnx', 'sea.density.onnx']
    """
    with trusting(code=allow_code):
        opened_run = run_of(run, checkpoint)
    return export_run(opened_run, Path(file), overwrite=overwrite)
