"""From what was asked for to the runs that are needed."""

from __future__ import annotations

from collections.abc import Sequence

from saccade.errors import InvalidInput, UsageError, nearest_name
from saccade.evaluation.comparison.arms import Arm, Case, Setting, named_size
from saccade.training.sampler_options import SAMPLERS


def arms_of(samplers: Sequence[str], own_options: Sequence[str] = ()) -> list[Arm]:
    """Arms as the command line names them.

    Args:
        samplers: ``uniform``, or ``published=deformation`` for an arm of another name.
        own_options: ``ARM:section.key=value`` each, for one arm only.

    Raises:
        UsageError: for a sampler or an arm that there is not, or one that stands twice.
        InvalidInput: for a name that no folder can have.
    """
    pairs = [(name, sampler or name) for name, _, sampler in (one.partition("=") for one in samplers)]
    for _, sampler in pairs:
        if sampler not in SAMPLERS:
            raise UsageError(f"unknown sampler {sampler!r}; {nearest_name(sampler, SAMPLERS)}")
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name!r} stands twice; give one of them a name: NAME={name}")
    own: dict[str, list[str]] = {name: [] for name in names}
    for one in own_options:
        name, colon, option = one.partition(":")
        if not colon or "=" not in option:
            raise UsageError(f"expected SAMPLER:section.key=value, but got {one!r}")
        if name not in own:
            raise UsageError(f"no sampler {name!r} in this comparison; {nearest_name(name, names)}")
        own[name].append(option)
    return [Arm(name, (f"sampler.name={sampler}", *own[name])) for name, sampler in pairs]


def cases_of(setting: Setting, arms: Sequence[Arm]) -> list[Case]:
    """Every run of a comparison: small sizes first, then seed by seed, then arm by arm.

    Raises:
        UsageError: for an option that there is not.
        InvalidInput: when a size is larger than the smallest image.
    """
    for size in setting.sizes if not setting.base.sampler.fit else ():
        _require_smaller(size, setting)
    return [setting.case(arm, size, seed) for size in setting.sizes for seed in setting.seeds for arm in arms]


def _require_smaller(size: tuple[int, int], setting: Setting) -> None:
    smallest = setting.data.sizes()
    rows, columns = (min(side) for side in zip(*smallest, strict=True))
    if size[0] > rows or size[1] > columns:
        expected = f"no larger than the smallest image ({named_size((rows, columns))})"
        raise InvalidInput("size", expected, named_size(size), "leave it out, or compare on larger images")
