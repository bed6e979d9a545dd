"""Assert that nothing is wrong with a network, and that it is within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnfpn_cli.errors import MnfpnError, spelled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnfpn_cli.api.arguments import ForwardPass, NetworkArgument, Sides, Sizes
    from mnfpn_cli.testing.budget import LimitValue


def assert_clean(
    network: NetworkArgument, *passes: ForwardPass, size: Sizes | None = None, allow: Sequence[str] = ()
) -> None:
    """Fail if an audit finds a mistake in a network, with what is wrong, where, and how to mend it.

    Args:
        network: an ``nn.Module``, which is exactly as before afterwards, or settings.
        passes: the inputs of each forward of a module: a tensor, a tuple of tensors, or shapes as text,
            ``1x3x64x64,1x4:int64``. Findings are over all of them.
        size: of an image, height first, instead of a pass: ``"600x900"``, ``(600, 900)``, or 600 for a square.
        allow: findings that are allowed, as ``shared:head.*``: the kind and a glob of paths.

    Raises:
        AssertionError: where there is a finding that is not allowed.
        UsageError: where an argument is wrong.
        MnfpnError: where the code of the module fails, or returns no tensors.

    Examples:
        >>> from torch import nn
        >>> from mnfpn_cli.testing import assert_clean
        >>> assert_clean(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), size=64)
    """
    __tracebackhide__ = True
    check_clean(network, passes, size, allow)


def check_clean(
    network: NetworkArgument,
    passes: Sequence[ForwardPass],
    size: Sizes | None,
    allow: Sequence[str],
    project: Path | None = None,
) -> None:
    """Do what `assert_clean` says; also allow what the ``pyproject.toml`` of a project allows.

    ``project``: a folder of the project.
    """
    __tracebackhide__ = True
    try:
        from mnfpn_cli.api.inspecting import audited
        from mnfpn_cli.audit.allow import parse_allowances
        from mnfpn_cli.audit.project import project_allowances

        allowances = (*parse_allowances(allow), *(project_allowances(project) if project else ()))
        document = audited(network, passes, size, None, allowances)
    except MnfpnError as error:
        raise _without_frames(error) from None
    if not document.clean:
        raise AssertionError(spelled(str(document).rstrip("\n"), str))


def assert_budget(
    network: NetworkArgument,
    inputs: ForwardPass | None = None,
    *,
    size: Sides | None = None,
    macs: LimitValue | None = None,
    parameters: LimitValue | None = None,
    peak_memory: LimitValue | None = None,
) -> None:
    """Fail if a network costs more than it may, with each limit, by how much, and the largest contributors.

    Args:
        network: an ``nn.Module``, which is exactly as before afterwards, or settings.
        inputs: the inputs of a forward of a module, as a pass of `assert_clean`.
        size: of an image, height first, instead of inputs.
        macs: the most MACs of a forward of the whole batch, as ``"1G"`` or 1e9.
        parameters: the most registered parameters, as ``"4M"`` or 4_000_000.
        peak_memory: the most bytes of weights and of activations at the peak of an inference pass, as ``"64MiB"``.

    Raises:
        AssertionError: where a limit is exceeded.
        UsageError: where an argument is wrong, or there is no limit.
        MnfpnError: where the code of the module fails, or returns no tensors.

    Examples:
        >>> from torch import nn
        >>> from mnfpn_cli.testing import assert_budget
        >>> assert_budget(nn.Conv2d(3, 8, 3), size="32x32", macs="1M", parameters=224)
    """
    __tracebackhide__ = True
    try:
        from mnfpn_cli.api.inspecting import summary
        from mnfpn_cli.testing.budget import exceeded, limits_of

        limits = limits_of(macs, parameters, peak_memory)
        over = exceeded(summary(network, inputs, size=size, audit=False), limits)
    except MnfpnError as error:
        raise _without_frames(error) from None
    if over:
        raise AssertionError(over)


def _without_frames(error: MnfpnError) -> MnfpnError:
    """Return an error without its traceback, which is all in mnfpn; the user's own frames are a note."""
    if error.details:
        error.add_note(error.details)
    return error.with_traceback(None)
