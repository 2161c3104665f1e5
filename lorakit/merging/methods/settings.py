"""What every method is given beside the changes themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

# A change of one entry as a matrix (out, in), computed when it is called for, strength within.
Dense = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Settings:
    """The options of one method for one weight.

    `seed` is the person's and `place` the weight's name: every weight and entry has random numbers of its
    own, which do not depend on the order of the work. `rank` is the wanted rank, where one is given.
    """

    options: Mapping[str, float | str]
    seed: int = 0
    place: str = ""
    rank: int | None = None

    def number(self, name: str) -> float:
        """An option that is a number."""
        return float(self.options[name])

    def generator(self, entry: int) -> torch.Generator:
        """Random numbers for the entry in place `entry`, whatever it is; the same on every device."""
        text = f"{self.seed}\0{self.place}\0{entry}".encode()
        start = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
        return torch.Generator().manual_seed(start)
