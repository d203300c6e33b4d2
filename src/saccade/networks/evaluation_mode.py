"""A module in evaluation mode while it is used, whatever other threads do with it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


@contextmanager
def evaluating(module: M) -> Iterator[M]:
    """A module in evaluation mode, to be used inside; the module itself stays as it is.

    It is a twin that shares parameters and buffers: another thread may train the module meanwhile, call
    ``train()`` or ``eval()`` on it, or copy it. Scripted and compiled modules, and those with functions bound
    to modules, have no twin: they are in evaluation mode themselves until the last thread is done.
    """
    if module.__dict__.get(_IS_TWIN):  # made by a caller further up, and of no other thread
        yield module
        return
    twin = _twin(module)
    with nullcontext() if twin is not None else _in_evaluation_mode(module):
        yield module if twin is None else twin


_IS_TWIN = "_saccade_twin"

_BOOKKEEPING = frozenset(vars(nn.Module())) - {"_modules", "_buffers", "_parameters"}
"""What every module has: hooks, mostly none, and flags."""

_TENSORS = ("_parameters", "_buffers")
_PLAIN = frozenset({bool, int, float, str, type(None), Tensor})


def _twin(module: M) -> M | None:
    """The module in evaluation mode, of the same tensors; None where a copy would still run the original."""
    twins: dict[int, nn.Module] = {}
    for part in module.modules():
        compiled = part._compiled_call_impl is not None or "_orig_mod" in part._modules
        if compiled or isinstance(part, torch.jit.ScriptModule):
            return None
        twin = twins[id(part)] = object.__new__(type(part))
        twin.__dict__.update(part.__dict__)  # to assign it would ask nn.Module
    try:
        for twin in twins.values():
            values = twin.__dict__
            for name, value in values.items():
                # A prediction makes twins of hundreds of modules: what holds no module is not looked into.
                if type(value) in _PLAIN or (not value and name in _BOOKKEEPING):
                    continue
                if type(value) is tuple and _PLAIN.issuperset(map(type, value)):
                    continue
                if name in _TENSORS:
                    values[name] = value.copy()
                elif name == "_modules":
                    values[name] = {key: twins.get(id(part), part) for key, part in value.items()}
                else:
                    values[name] = _twin_of(value, twins)
            values.update(training=False, _buffers=values["_buffers"].copy())
    except _NoTwin:
        return None
    twins[id(module)].__dict__[_IS_TWIN] = True
    return cast(M, twins[id(module)])


class _NoTwin(Exception):
    """A function that has captured a module."""


def _twin_of(value: Any, twins: dict[int, nn.Module]) -> Any:
    """An attribute of a twin: modules in it are the twins of what they were."""
    if isinstance(value, nn.Module):
        return twins.get(id(value), value)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _twin_of(value.__self__, twins))
    if type(value) in (list, tuple):
        return type(value)(_twin_of(part, twins) for part in value)
    if type(value) is dict:
        return {key: _twin_of(part, twins) for key, part in value.items()}
    if isinstance(value, FunctionType | partial) and any(id(part) in twins for part in _captured(value)):
        raise _NoTwin
    return value


def _captured(function: FunctionType | partial[Any]) -> list[Any]:
    """What a function brings along, and what its methods are bound to."""
    if isinstance(function, partial):
        values = [function.func, *function.args, *function.keywords.values()]
    else:
        values = [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    return [value.__self__ if isinstance(value, MethodType) else value for value in values]


_MODES: WeakKeyDictionary[nn.Module, list[Any]] = WeakKeyDictionary()
"""Of every module that is in evaluation mode for a while: how often, and the mode that it was in."""

_MODES_LOCK = threading.Lock()


@contextmanager
def _in_evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in the mode it was in, frozen parts too.

    Entries are counted, so that threads that share a module, or a part of one, leave it in evaluation mode
    until the last of them is done. ``eval()`` is not called: some modules merge weights in it.
    """
    parts = list(module.modules())
    with _MODES_LOCK:
        for part in parts:
            _MODES.setdefault(part, [0, part.training])[0] += 1
        for part in parts:  # after all modes are known: a compiled module's is that of the module in it
            part.training = False
    try:
        yield
    finally:
        with _MODES_LOCK:
            for part in parts:
                entry = _MODES[part]
                entry[0] -= 1
                if not entry[0]:
                    part.training = entry[1]
                    del _MODES[part]
