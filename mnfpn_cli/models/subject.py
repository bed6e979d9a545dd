"""What a command looks at: a network from settings, or one that others wrote; and the inputs that it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnfpn_cli.models.target import InputSpec, Target
    from mnfpn_cli.settings.models import NetworkSettings  # pydantic, which --help need not pay for


@dataclass(frozen=True)
class Subject:
    """A network, and the inputs of a pass. It has settings or a target, never both."""

    inputs: tuple[InputSpec, ...]
    settings: NetworkSettings | None = None
    target: Target | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.target.text if self.target else "the network of the settings"
