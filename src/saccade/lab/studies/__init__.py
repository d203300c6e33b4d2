"""The studies of the papers, each a page: ``saccade compare DATA OUT --study NAME``.

A new study is one module with a :class:`Study`, and one line in :data:`STUDIES`.
"""

from __future__ import annotations

import importlib

from saccade.errors import UsageError, nearest_name
from saccade.lab.studies.study import Block, Chart, Curve, Study, Table, Text, study_json

STUDIES: dict[str, str] = {
    "variants": "downsampling:VARIANTS",
    "oracle-blur": "downsampling:ORACLE_BLUR",
    "edge-weight": "downsampling:EDGE_WEIGHT",
    "radius": "downsampling:RADIUS",
    "antialias": "downsampling:ANTIALIAS",
    "extreme": "downsampling:EXTREME",
    "other-sizes": "downsampling:OTHER_SIZES",
    "smoothness": "boundary:SMOOTHNESS",
    "foveation": "foveation:TABLE",
    "foveation-stride": "foveation:FOVEATION_STRIDE",
    "fields-of-view": "foveation:FIELDS",
}
"""Name to ``module:object``, in the order of ``--study list``."""

__all__ = ["STUDIES", "Block", "Chart", "Curve", "Study", "Table", "Text", "load_study", "study_json"]


def load_study(name: str) -> Study:
    """A study by its name.

    Raises:
        UsageError: for a name that there is not, with the nearest that there is.
    """
    if name not in STUDIES:
        raise UsageError(f"unknown study {name!r}; {nearest_name(name, STUDIES)}")
    module, _, thing = STUDIES[name].partition(":")
    study: Study = getattr(importlib.import_module(f"saccade.lab.studies.{module}"), thing)
    return study
