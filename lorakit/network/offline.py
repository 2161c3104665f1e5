"""The switch that keeps everything at home."""

from __future__ import annotations

import os

from lorakit.errors import Unreachable

# The second is the switch of Hugging Face's own library, which says what a person wants just as well.
SWITCHES = ("LORAKIT_OFFLINE", "HF_HUB_OFFLINE")
_ON = {"1", "true", "yes", "on"}


def check_online(purpose: str) -> None:
    """Raise `Unreachable` where the environment forbids the network; `purpose` is what wants it."""
    for name in SWITCHES:
        if os.environ.get(name, "").strip().lower() in _ON:
            raise Unreachable(
                f"{purpose} needs the network, and {name} is set: nothing was sent.",
                hint=f"Unset {name} to allow it.",
            )
