"""Seeds of everything random: one from several numbers, the same on every machine."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """One seed in [0, 2^64) from several numbers >= 0, such as (seed, epoch, step).

    NumPy's ``SeedSequence``, whose mixing is fixed for all versions and machines; different tuples of one
    length give unrelated seeds.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
