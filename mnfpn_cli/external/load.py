"""Import a network that a target names, and make it. This runs the code of whoever wrote it."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
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
    """The network of a target: an ``nn.Module``, or what a class or a function returns.

    ``seed``: of torch's random numbers while its code runs; they are put back behind it.

    Raises:
        UsageError: where there is no such module or attribute, or it is not a network, or wants other arguments.
        ModelError: where its code fails.
    """
    with external_code(f"importing {target.place}"), _findable(target):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            found = _attribute(target, _imported_or_again(target))
        except ModuleNotFoundError as error:
            if error.name is None or not f"{target.place}.".startswith(f"{error.name}."):
                raise  # something that it imports itself
            hint = near_module(target.place, target.attribute, error.name)
            raise UsageError(Problem("`model`", f"there is no module '{error.name}' here", hint=hint)) from None
    with external_code(f"making {target.text}"), _findable(target):
        if seed is not None:
            torch.manual_seed(seed)
        network = _made_or_again(target, found)
    if not isinstance(network, nn.Module):
        raise UsageError(Problem("`model`", f"{target.text} must return an nn.Module", _a(network)))
    return network


@contextmanager
def _findable(target: Target) -> Iterator[None]:
    """Let what is imported come from the current folder, as with ``python -m``; and from beside a file."""
    before = list(sys.path)
    sys.path.insert(0, str(target.file.resolve().parent) if target.file else str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _imported_or_again(target: Target) -> Any:
    try:
        return _imported(target)
    except RuntimeError as error:
        if not declare_operators(error):
            raise
    return _imported(target)


def _made_or_again(target: Target, found: Any) -> Any:
    """The same for a function that imports torchvision itself."""
    try:
        return _made(target, found)
    except RuntimeError as error:
        if not declare_operators(error):
            raise
    return _made(target, found)


def _imported(target: Target) -> Any:
    if target.file is None:
        return importlib.import_module(target.place)
    name = target.file.stem
    spec = importlib.util.spec_from_file_location(name, target.file)
    if spec is None or spec.loader is None:
        raise UsageError(Problem("`model`", f"'{target.place}' is no Python file"))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _attribute(target: Target, module: Any) -> Any:
    found = module
    names = target.attribute.split(".")
    for index, name in enumerate(names):
        if not hasattr(found, name):
            known = ", ".join(sorted(_networks(module)))
            typed = {
                one: ".".join([f"{target.place}:", *names[:index], one]).replace(":.", ":") for one in _makers(found)
            }
            hint = did_you_mean(name, typed, typed) or (f"; networks in it: {known}" if known else "")
            raise UsageError(Problem("`model`", f"{target.place} has no '{target.attribute}'", hint=hint))
        found = getattr(found, name)
    return found


def _makers(holder: Any) -> Iterator[str]:
    """The names of what could be a network or could make one: modules, classes, functions."""
    for name, value in getattr(holder, "__dict__", {}).items():
        if isinstance(value, nn.Module) or (callable(value) and not name.startswith("_")):
            yield name


def _networks(module: Any) -> Iterator[str]:
    """The names of the networks that a module holds, and of its classes of networks."""
    for name, value in vars(module).items():
        is_class = isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
        if is_class or isinstance(value, nn.Module):
            yield name


def _made(target: Target, found: Any) -> Any:
    """The network: what was found, or what it returns."""
    arguments = dict(target.arguments)
    if isinstance(found, nn.Module):
        if arguments:
            raise UsageError(
                Problem("`model_arg`", f"{target.text} is a network that is made already, and takes no arguments")
            )
        return found
    if not callable(found):
        raise UsageError(Problem("`model`", f"{target.text} must be an nn.Module, a class or a function", _a(found)))
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:
        wants = f"{target.text} takes {inspect.signature(found)}"
        raise UsageError(Problem("`model_arg`", f"{error}; {wants}")) from None
    except ValueError:
        pass  # one that cannot be asked, as those written in C
    return found(**arguments)


def _a(value: object) -> str:
    return f"an object of type {type(value).__name__}"


def check_arguments(network: nn.Module, inputs: int) -> None:
    """Make sure that a forward takes so many inputs.

    Raises:
        UsageError: where it does not.
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
                "; repeat `input` for each, as `input` 1x3x600x900 `input` 1x4",
            )
        ) from None
    except ValueError:
        return
