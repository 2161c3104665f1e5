"""lorakit's own columns: adapters merged into one, and fused into the weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

import lorakit
from bench.fidelity_cases import Case, Deltas, Source
from bench.fidelity_figures import Refused, Tool, refusals
from bench.fidelity_files import write_diffusers, write_flat
from lorakit.catalog import Catalog
from lorakit.errors import LorakitError
from lorakit.merging.merge import Merged, merged
from lorakit.merging.merge_to_file import MergePlan, merge_to_file
from lorakit.stack import Entry, resolve_stack

PREFIX = "net."


def tools() -> list[Tool]:
    """Merging by factors, merging with what factors cannot hold kept in full, and fusing."""
    return [
        Tool("lorakit `merge`", partial(_merged, full_diffs=False)),
        Tool("lorakit `merge`, full differences allowed", partial(_merged, full_diffs=True)),
        Tool("lorakit `merge`, file in bfloat16", _written),
        Tool("lorakit `fuse`", _fused),
    ]


def nearest() -> Tool:
    """What no tool can do better: the exact weights, rounded once."""
    return Tool("(the exact weights, rounded once)", _rounded)


def stack(case: Case, folder: Path) -> list[tuple[Path, float]]:
    """The adapters as files that lorakit reads, with their strengths."""
    return [
        (_file(source, folder / f"{number}.safetensors"), source.strength)
        for number, source in enumerate(case.sources)
    ]


def base(case: Case) -> dict[str, torch.Tensor]:
    """The case's modules as a checkpoint."""
    weights = {f"{PREFIX}{module}.weight": weight for module, weight in case.base.items()}
    # A checkpoint of Anima is known by this weight and its text adapter.
    marks = ("blocks.0.mlp.layer1", "llm_adapter.blocks.0.cross_attn.q_proj")
    return weights | {f"{PREFIX}{mark}.weight": torch.zeros(4, 4) for mark in marks}


def _file(source: Source, path: Path) -> Path:
    # PEFT's and diffusers' flag is the only mark that rsLoRA has.
    return write_diffusers(path, source) if source.rslora else write_flat(path, source)


def stated(case: Case, folder: Path) -> float:
    """The relative error that `merge` itself tells of a case, without looking at the exact sum."""
    return _merge(case, folder).report.total.error


def _needs_base(case: Case) -> bool:
    return any(source.algo == "dora" for source in case.sources)


def _merge(case: Case, folder: Path, *, full_diffs: bool = False) -> Merged:
    return merged(
        stack(case, folder),
        base=base(case) if _needs_base(case) else None,
        full_diffs=full_diffs,
    )


def _merged(case: Case, folder: Path, *, full_diffs: bool) -> Deltas:
    if full_diffs and not _needs_base(case):
        raise Refused("the same: factors hold it all")
    with refusals(LorakitError):
        made = _merge(case, folder, full_diffs=full_diffs)
    return _changes(made.adapter, case)


def _written(case: Case, folder: Path) -> Deltas:
    """As the command does it: through the gate into a file, which is then read again."""
    if _needs_base(case):
        raise Refused("the command takes a registered base only")
    entries = [Entry(str(path), strength) for path, strength in stack(case, folder)]
    with Catalog.open(folder / "catalog.db") as catalog:
        plan = MergePlan(tuple(resolve_stack(entries, catalog)), case.name, dtype="bf16")
        done, _ = merge_to_file(catalog, plan, folder / "merged.safetensors")
    return _changes(lorakit.load_adapter(done.written.path), case)


def _changes(adapter: lorakit.Adapter, case: Case) -> Deltas:
    return {
        module: adapter.modules[module].delta(weight.double())
        for module, weight in case.base.items()
    }


def _fused(case: Case, folder: Path) -> Deltas:
    fused = lorakit.fuse(base(case), stack(case, folder))
    return {
        module: fused[f"{PREFIX}{module}.weight"].double() - weight.double()
        for module, weight in case.base.items()
    }


def _rounded(case: Case, folder: Path) -> Deltas:
    return {
        module: (weight.double() + change).to(case.dtype).double() - weight.double()
        for (module, weight), change in zip(case.base.items(), case.exact().values(), strict=True)
    }
