"""LyCORIS: `merge` puts one file after another into the weights; `extract_diff` takes an adapter from them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from torch import nn

from bench.fidelity_cases import FACTOR, Case, Deltas, Source
from bench.fidelity_figures import Refused, Tool, refusals
from bench.fidelity_files import flat_tensors
from bench.fidelity_modules import nest, weight_of


def tools() -> list[Tool]:
    """Merging into weights, and an adapter extracted from those."""
    return [
        Tool("lycoris `merge`, one after another", _merged),
        Tool("lycoris `merge`, then `extract_diff`", _extracted),
    ]


def _merged(case: Case, folder: Path) -> Deltas:
    model = _model_with_all(case)
    return {
        module: weight_of(model, module).double() - weight.double()
        for module, weight in case.base.items()
    }


def _extracted(case: Case, folder: Path) -> Deltas:
    """The adapter of the summed rank that it extracts, which is stored in float16."""
    from lycoris.utils import extract_diff

    model = _model_with_all(case)
    rank = sum(_rank(source) for source in case.sources)
    with _quiet(), refusals():
        found = extract_diff([], [], nest(case.base), model, mode="fixed", linear_mode_param=rank)
    made = {}
    for module in case.base:
        prefix = f"lora_unet_{module.replace('.', '_')}"
        if f"{prefix}.diff" in found:
            made[module] = found[f"{prefix}.diff"].double()
            continue
        up, down = (found[f"{prefix}.lora_{half}.weight"].double() for half in ("up", "down"))
        made[module] = float(found[f"{prefix}.alpha"]) / down.shape[0] * up @ down
    return made


def _model_with_all(case: Case) -> nn.Module:
    from lycoris.utils import merge

    model = nest(case.base)
    for source in case.sources:
        said = io.StringIO()
        with _quiet(said), refusals():
            merge([], model, flat_tensors(source), source.strength)
        if f"{len(case.base)} Modules been merged" not in said.getvalue():
            raise Refused("not every module is merged")
    return model


def _rank(source: Source) -> int:
    """The rank that the change of a module can have at most, DoRA's excepted."""
    return {"lokr": FACTOR * source.rank, "loha": source.rank**2}.get(source.algo, source.rank)


@contextmanager
def _quiet(said: io.StringIO | None = None) -> Iterator[None]:
    """Its progress bars and reports kept from the terminal."""
    with (
        redirect_stdout(said or io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
