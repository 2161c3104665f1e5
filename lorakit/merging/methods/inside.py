"""Merging the small matrices that several changes become in common bases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import torch

from lorakit.merging.factors import Factors, of_matrix
from lorakit.merging.methods.dare import dare
from lorakit.merging.methods.della import della
from lorakit.merging.methods.iso import iso
from lorakit.merging.methods.settings import Dense, Settings
from lorakit.merging.methods.ties import ties
from lorakit.merging.methods.tsv import tsv

# Takes and gives whole matrices.
EntrywiseMethod = Callable[[Sequence[Dense], Settings], torch.Tensor]
# Takes and gives thin factors.
FactorMethod = Callable[[Sequence[Factors], Settings], Factors]

ENTRYWISE: Mapping[str, EntrywiseMethod] = MappingProxyType(
    {"ties": ties, "dare": dare, "della": della}
)
ON_FACTORS: Mapping[str, FactorMethod] = MappingProxyType({"tsv": tsv, "iso": iso})


def merge_matrices(matrices: Sequence[torch.Tensor], settings: Settings) -> torch.Tensor:
    """`matrices` of one shape as one, by the method that the option `in_core` names."""
    name = settings.options["in_core"]
    if name == "sum":
        return torch.stack(list(matrices)).sum(0) * settings.number("scale")
    if name in ENTRYWISE:
        return ENTRYWISE[str(name)]([partial(torch.clone, m) for m in matrices], settings)
    return ON_FACTORS[str(name)]([of_matrix(m) for m in matrices], settings).dense()
