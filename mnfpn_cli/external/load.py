"""Import and build the network that a target names. This runs external code."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.external.guard import external_code
from mnfpn_cli.external.target import Target, near_module
from mnfpn_cli.external.torchvision import declare_operators
from mnfpn_cli.text import did_you_mean


def load_model(target: Target, seed: int | None = None) -> nn.Module:
    """Return the network of a target: an ``nn.Module``, or what a class or function returns.

    ``seed``: the seed of torch's random numbers while the code runs; their state is restored afterwards.

    Raises:
        UsageError: where the module or attribute does not exist, is not a network, or takes other arguments.
        ModelError: where the code fails.
    """
    with external_code(f"importing {target.source}"), _import_path(target):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            attribute = _find_attribute(target, _retry(lambda: _import_source(target)))
        except ModuleNotFoundError as error:
            if error.name is None or not f"{target.source}.".startswith(f"{error.name}."):
                raise  # a module that the source imports
            hint = near_module(target.source, target.attribute, error.name)
            raise UsageError(Problem("`model`", f"there is no module '{error.name}' here", hint=hint)) from None
    with external_code(f"building {target.text}"), _import_path(target):
        if seed is not None:
            torch.manual_seed(seed)
        network = _retry(lambda: _build(target, attribute))
    if not isinstance(network, nn.Module):
        raise UsageError(Problem("`model`", f"{target.text} must return an nn.Module", _type_name(network)))
    return network


@contextmanager
def _import_path(target: Target) -> Iterator[None]:
    """Import from the current folder first, as ``python -m`` does; for a file, from the file's folder."""
    before = list(sys.path)
    sys.path.insert(0, str(target.file.resolve().parent) if target.file else str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _retry(run: Callable[[], Any]) -> Any:
    """Return what a function returns; run it once more where it failed only for want of torchvision's operators."""
    try:
        return run()
    except RuntimeError as error:
        if not declare_operators(error):
            raise
    return run()


def _import_source(target: Target) -> Any:
    """Import the module or the file of a target."""
    if target.file is None:
        return importlib.import_module(target.source)
    name = target.file.stem
    spec = importlib.util.spec_from_file_location(name, target.file)
    if spec is None or spec.loader is None:
        raise UsageError(Problem("`model`", f"'{target.source}' is not a Python file"))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look up their own module there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _find_attribute(target: Target, module: Any) -> Any:
    """Return the attribute of a module that a target names; suggest others where there is none."""
    value = module
    names = target.attribute.split(".")
    for index, name in enumerate(names):
        if not hasattr(value, name):
            known = ", ".join(sorted(_networks(module)))
            prefix = ":".join([target.source, "".join(f"{outer}." for outer in names[:index])])
            targets = {other: prefix + other for other in _callables(value)}
            hint = did_you_mean(name, targets, targets) or (f"; networks in it: {known}" if known else "")
            raise UsageError(Problem("`model`", f"{target.source} has no '{target.attribute}'", hint=hint))
        value = getattr(value, name)
    return value


def _callables(holder: Any) -> Iterator[str]:
    """Yield the names of attributes that may be a network or return one: modules, classes, functions."""
    for name, value in getattr(holder, "__dict__", {}).items():
        if isinstance(value, nn.Module) or (callable(value) and not name.startswith("_")):
            yield name


def _networks(module: Any) -> Iterator[str]:
    """Yield the names of the networks that a Python module holds, and of the network classes that it defines."""
    for name, value in vars(module).items():
        is_class = isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
        if is_class or isinstance(value, nn.Module):
            yield name


def _build(target: Target, attribute: Any) -> Any:
    """Return the attribute that a target names, if it is a network; else what it returns."""
    arguments = dict(target.arguments)
    if isinstance(attribute, nn.Module):
        if arguments:
            raise UsageError(Problem("`model_arg`", f"{target.text} is a network already, and takes no arguments"))
        return attribute
    if not callable(attribute):
        raise UsageError(
            Problem("`model`", f"{target.text} must be an nn.Module, a class or a function", _type_name(attribute))
        )
    try:
        inspect.signature(attribute).bind(**arguments)
    except TypeError as error:
        signature = f"{target.text} takes {inspect.signature(attribute)}"
        raise UsageError(Problem("`model_arg`", f"{error}; {signature}")) from None
    except ValueError:
        pass  # it has no signature, as functions written in C
    return attribute(**arguments)


def _type_name(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def check_arguments(network: nn.Module, inputs: int) -> None:
    """Check that the forward of a network takes this number of inputs.

    Raises:
        UsageError: where it takes another number.
    """
    try:
        signature = inspect.signature(network.forward)
        signature.bind(*[None] * inputs)
    except TypeError:
        given = "input" if inputs == 1 else "inputs"
        raise UsageError(
            Problem(
                "`input`",
                f"forward of {type(network).__name__} takes {signature}",
                f"{inputs} {given}",
                "; separate the inputs of a pass by commas, as `input` 1x3x600x900,1x4",
            )
        ) from None
    except ValueError:
        return
