"""What can end a measurement."""

from typing import Literal

Ended = Literal["precision", "noise", "max_time", "runs", "min_time", "interrupted", "failed"]
