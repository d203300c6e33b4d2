"""A comparison from its setting to its results: what is there is used, what is missing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import SaccadeError, UsageError
from saccade.evaluation.comparison.arms import Arm, Case, Setting
from saccade.evaluation.comparison.costs import Costs, measure_costs
from saccade.evaluation.comparison.files import read_costs, run_root
from saccade.evaluation.comparison.pool import Errand
from saccade.evaluation.comparison.results import Comparison
from saccade.evaluation.comparison.state import FAILED, FINISHED, MISSING, OTHER, PARTIAL, State, state_of
from saccade.evaluation.comparison.work import outcome_of, stored_evaluation


@dataclass(frozen=True)
class Plan:
    """What is there, and what is to be done.

    Attributes:
        states: of every case, in order.
        errands: to be run.
        kept_failures: cases that failed before and are not tried again.
    """

    states: dict[str, State]
    errands: tuple[Errand, ...]
    kept_failures: tuple[Case, ...]

    @property
    def to_train(self) -> list[Case]:
        """Cases whose training is not over."""
        return [one.case for one in self.errands if one.anew or self.states[one.case.name].kind != FINISHED]


def plan(
    setting: Setting, cases: Sequence[Case], out: Path, *, resume: bool = False, overwrite: bool = False
) -> Plan:
    """Looks at every run folder.

    Args:
        setting: of the comparison.
        cases: that it needs.
        out: its folder.
        resume: go on with what is unfinished, and try again what failed.
        overwrite: train every run anew.

    Raises:
        UsageError: for an unfinished run, when neither ``resume`` nor ``overwrite`` says what to do.
        SaccadeError: for run folders of other options or data, with the reason of each.
    """
    states = {case.name: state_of(case, run_root(out, case), setting.data) for case in cases}
    if overwrite:
        return Plan(states, tuple(Errand(case, run_root(out, case), True) for case in cases), ())
    _refuse_others(states, out)
    partial = [name for name, state in states.items() if state.kind == PARTIAL]
    if partial and not resume:
        raise UsageError(f"{out}: {_list(partial)} not finished; use --resume to go on, or --overwrite")
    todo, failed = [], []
    for case in cases:
        kind, root = states[case.name].kind, run_root(out, case)
        if kind == FAILED and not resume:
            failed.append(case)
        elif kind in (MISSING, PARTIAL, FAILED) or stored_evaluation(setting, root) is None:
            todo.append(Errand(case, root))
    return Plan(states, tuple(todo), tuple(failed))


def collect(
    setting: Setting,
    arms: Sequence[Arm],
    cases: Sequence[Case],
    out: Path,
    *,
    name: str,
    on_measured: Callable[[], object],
) -> Comparison:
    """What came out, with the costs measured side by side; those of an earlier table where they fit.

    Raises:
        SaccadeError: when no run succeeded.
    """
    outcomes = tuple(outcome_of(setting, case, run_root(out, case)) for case in cases)
    if not any(one.evaluation for one in outcomes):
        first = f": {outcomes[0].case.name}: {outcomes[0].failure}" if outcomes else ""
        raise SaccadeError(f"{out}: no run succeeded{first}")
    costs = Costs.from_json(read_costs(out, name))
    if costs is None or not costs.fit(setting, outcomes):
        costs = measure_costs(setting, outcomes, on_measured)
    return Comparison(setting, tuple(arms), outcomes, costs)


def _refuse_others(states: dict[str, State], out: Path) -> None:
    others = [f"{name}: {state.reason}" for name, state in states.items() if state.kind == OTHER]
    if others:
        way_out = "choose another OUT, give the options of these runs, or --overwrite them"
        lines = "\n".join(f"  {line}" for line in others)
        raise SaccadeError(f"{out} holds runs that are not what was asked for; {way_out}:\n{lines}")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'}"
