"""What is inside an adapter file, from its header and a few scalars alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from lorakit.formats import anima
from lorakit.formats.family import FamilyTold, family_told, stream_width
from lorakit.formats.findings import PEFT_LIKE, alpha_problems, notes, shape_problems
from lorakit.formats.grouping import KeyGroups, ModuleKeys, group_keys
from lorakit.formats.hashing import FileHashes, start_hashing
from lorakit.formats.header import Header, read_header
from lorakit.formats.metadata import TrainingInfo, read_training_info
from lorakit.formats.other_models import OtherModel
from lorakit.formats.parts import algo_name
from lorakit.formats.peft_config import PeftConfig, read_peft_config
from lorakit.formats.scalars import read_scalars
from lorakit.formats.telling_apart import tell_apart
from lorakit.formats.variants import model_blocks


@dataclass(frozen=True)
class ModuleReport:
    """One patched module.

    `rank` is None where the algorithm has none; `alpha` is None where the file states none; `scale`
    is what the product of the factors is multiplied by; `shape` is (out, in) of the weight, or (dim,) of
    a norm, where the tensors tell it, with None for a side they do not tell; `parts` are the parts.py names of its tensors.
    """

    name: str
    algo: str
    parts: tuple[str, ...]
    rank: int | None
    alpha: float | None
    scale: float
    shape: tuple[int | None, ...] | None
    dtype: str


@dataclass(frozen=True)
class AdapterReport:
    """Everything that a header tells of an adapter file.

    `modules` is empty for a file that is no Anima adapter; `other_model` is then the model that it is an
    adapter for, where that can be told. `look_alikes` are other models that have all its layers, at their width.
    `model_blocks` is the size (28, 40, 52 or one the header states) of
    the model the adapter was made for. `problems` would make fusing wrong, `notes` are things to know by the
    tensors; `remarks` has those of the header as well.
    """

    path: Path
    file_size: int
    layouts: tuple[str, ...]
    modules: tuple[ModuleReport, ...]
    dtypes: Mapping[str, int]
    info: TrainingInfo
    metadata: Mapping[str, str]
    unused_keys: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    hashes: FileHashes | None
    other_model: OtherModel | None = None
    look_alikes: tuple[str, ...] = ()

    @property
    def family(self) -> str | None:
        """The model that the adapter is for: Anima, another by name, or None where nothing tells."""
        if self.other_model is not None:
            return self.other_model.name
        return "Anima" if self.modules else None

    @cached_property
    def family_told(self) -> FamilyTold | None:
        """What tells that it was made for Anima, and not for the model whose layers are the same; None for
        an adapter of another model."""
        if not self.modules:
            return None
        width = stream_width({module.name: module.shape for module in self.modules})
        return family_told(self.components, self.blocks, width, self.metadata, self.look_alikes)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know before using the adapter, in whole sentences."""
        note = self.family_told.note if self.family_told is not None else None
        return (note, *self.notes) if note else self.notes

    @cached_property
    def algos(self) -> tuple[str, ...]:
        """The algorithms in the file, the most frequent first."""
        return tuple(name for name, _ in Counter(m.algo for m in self.modules).most_common())

    @cached_property
    def ranks(self) -> Mapping[int, int]:
        """How many modules have each rank, smallest rank first."""
        return dict(sorted(Counter(m.rank for m in self.modules if m.rank is not None).items()))

    @cached_property
    def alphas(self) -> Mapping[float, int]:
        """How many modules state each alpha."""
        return dict(Counter(m.alpha for m in self.modules if m.alpha is not None).most_common())

    @cached_property
    def components(self) -> Mapping[str, int]:
        """How many modules lie in each component."""
        counts = Counter(anima.component_of(m.name) for m in self.modules)
        return {name: counts[name] for name in anima.COMPONENTS if counts[name]}

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The transformer blocks that are touched, in order."""
        found = {anima.block_of(m.name) for m in self.modules}
        return tuple(sorted(block for block in found if block is not None))

    @property
    def model_blocks(self) -> int | None:
        """The model size the adapter was made for; None without blocks or above 52.

        The header's statement where it fits, else the published size that the highest block tells.
        """
        if not self.blocks:
            return None
        stated = self.info.base_blocks
        return stated if stated and stated > self.blocks[-1] else model_blocks(self.blocks[-1])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it, with the derived figures."""
        return {
            "path": str(self.path),
            "file_size": self.file_size,
            "family": self.family,
            "family_told": asdict(self.family_told) if self.family_told else None,
            "look_alikes": list(self.look_alikes),
            "layouts": list(self.layouts),
            "algos": list(self.algos),
            "ranks": {str(rank): count for rank, count in self.ranks.items()},
            "alphas": {_number(alpha): count for alpha, count in self.alphas.items()},
            "components": dict(self.components),
            "blocks": list(self.blocks),
            "model_blocks": self.model_blocks,
            "dtypes": dict(self.dtypes),
            "info": asdict(self.info),
            "unused_keys": list(self.unused_keys),
            "problems": list(self.problems),
            "notes": list(self.remarks),
            "hashes": asdict(self.hashes) if self.hashes else None,
            "modules": [_module_dict(module) for module in self.modules],
            "metadata": dict(self.metadata),
        }


def inspect(path: str | Path, *, hashes: bool = True) -> AdapterReport:
    """Report what is in the adapter file at `path`, without loading a tensor or importing torch.

    `hashes=False` leaves out the SHA-256 pass over the file. Raises `BadFile` for a file that is not
    valid safetensors; a valid file that is no Anima adapter gives a report without modules.
    """
    header = read_header(path)
    # The hashes are taken while the header is parsed.
    wait = start_hashing(header.path, header.data_offset) if hashes else None
    report = report_header(header)
    return replace(report, hashes=wait()) if wait else report


def report_header(
    header: Header, hashes: FileHashes | None = None, *, scalars: bool = True
) -> AdapterReport:
    """The report of a header that has been read already.

    Without `scalars` the file is not opened again, and the alphas that lie among its tensors are unknown.
    """
    return grouped_report(header, hashes, scalars=scalars)[0]


def grouped_report(
    header: Header, hashes: FileHashes | None = None, *, scalars: bool = True
) -> tuple[AdapterReport, KeyGroups]:
    """The same, with the keys by module, which whoever reads the tensors needs too."""
    told = tell_apart(header, group_keys(header))
    groups, other = told.groups, told.other
    alphas = _read_alphas(header, groups) if scalars else {}
    configs = _read_configs(header, groups)
    modules = [_report_module(module, alphas, configs) for module in groups.modules]
    report = AdapterReport(
        path=header.path,
        file_size=header.file_size,
        layouts=groups.layouts,
        modules=tuple(modules),
        dtypes=dict(Counter(info.dtype for info in header.tensors.values()).most_common()),
        info=read_training_info(header.metadata),
        metadata=header.metadata,
        unused_keys=groups.unused_keys,
        problems=(
            *groups.problems,
            *shape_problems(groups),
            *(alpha_problems(groups, alphas) if scalars else ()),
        ),
        notes=notes(groups, configs, header, other),
        hashes=hashes,
        other_model=other,
        look_alikes=told.look_alikes,
    )
    return report, groups


def _read_configs(header: Header, groups: KeyGroups) -> dict[str, PeftConfig]:
    """PEFT's configs, where the weights may be PEFT's and the ranks are those of this file."""
    # Weights of LoKr and LoHa that bring no alpha were written by PEFT, whatever their prefix.
    bare = any(m.algo.name in ("lokr", "loha") and "alpha" not in m.parts for m in groups.modules)
    peft_like = not PEFT_LIKE.isdisjoint(groups.layouts) or groups.layouts[:1] == ("original",)
    if not (bare or peft_like):
        return {}
    ranks = {module.rank for module in groups.modules if module.rank}
    configs = read_peft_config(header).items()
    return {prefix: config for prefix, config in configs if config.fits(ranks)}


def _read_alphas(header: Header, groups: KeyGroups) -> dict[str, float]:
    """The stated alpha of each module, by module name."""
    tensors = {m.name: m.parts["alpha"] for m in groups.modules if "alpha" in m.parts}
    return read_scalars(header, tensors)


def _report_module(
    module: ModuleKeys, alphas: Mapping[str, float], configs: Mapping[str, PeftConfig]
) -> ModuleReport:
    rank = module.rank
    alpha, scale = alphas.get(module.name), 1.0
    config = _config_for(module, configs)
    if alpha is not None and rank:
        scale = alpha / rank
    elif "alpha" not in module.parts and config is not None:
        alpha, scale = config.alpha_for(module.path), config.scale_for(module.path, rank)
    return ModuleReport(
        name=module.name,
        algo=algo_name(module.algo, module.parts),
        parts=tuple(module.parts),
        rank=rank,
        alpha=alpha,
        scale=scale,
        shape=module.shape,
        dtype=next(info.dtype for part, info in module.parts.items() if part != "alpha"),
    )


def _config_for(module: ModuleKeys, configs: Mapping[str, PeftConfig]) -> PeftConfig | None:
    owners = {"dit": "transformer", "llm_adapter": "text_conditioner"}
    owner = owners.get(anima.component_of(module.name), "text_encoder")
    return configs.get(owner) or configs.get("")


def _number(value: float) -> str:
    """`value` as people write it, with every digit that tells it from another."""
    short = f"{value:g}"
    return short if float(short) == value or not isfinite(value) else repr(value)


def _module_dict(module: ModuleReport) -> dict[str, Any]:
    return {
        "name": module.name,
        "algo": module.algo,
        "rank": module.rank,
        # JSON has no infinity, and files with an alpha of inf exist.
        "alpha": module.alpha
        if module.alpha is None or isfinite(module.alpha)
        else str(module.alpha),
        "scale": module.scale if isfinite(module.scale) else str(module.scale),
        "shape": list(module.shape) if module.shape else None,
        "dtype": module.dtype,
    }
