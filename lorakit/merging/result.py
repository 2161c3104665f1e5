"""An adapter in memory that no file holds: its modules, and a report that is true of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorakit.adapters.adapter import Adapter, AdapterModule
from lorakit.adapters.full import DiffModule
from lorakit.adapters.lora import LoraModule
from lorakit.adapters.tensor_file import DTYPE_CODES
from lorakit.formats import anima
from lorakit.formats.inspection import AdapterReport, ModuleReport
from lorakit.formats.metadata import BASE_BLOCKS_KEY, read_training_info
from lorakit.formats.variants import model_blocks


def adapter_of(
    modules: Mapping[str, AdapterModule],
    biases: Mapping[str, AdapterModule] | None = None,
    *,
    path: Path,
    blocks: int | None = None,
    metadata: Mapping[str, str] | None = None,
    made_of: tuple[Path, ...] = (),
    stated: Mapping[str, ModuleReport] | None = None,
) -> Adapter:
    """An `Adapter` of `modules` and `biases` (canonical names), as one that was read from a file.

    `blocks` is the size of the model it is made for, written into its metadata where the modules do not
    tell it; `stated` are the reports of modules that came from a file as they are, for algorithms other
    than LoRA and full differences. `path` is only a name for messages.
    """
    biases = biases or {}
    names = sorted(modules.keys() | biases.keys(), key=_order)
    kept = {name: report for name, report in (stated or {}).items() if name in modules}
    reports = tuple(
        kept.get(name) or report_of(name, modules.get(name), biases.get(name)) for name in names
    )
    notes = {**(metadata or {}), **size_note(names, blocks)}
    report = AdapterReport(
        path=path,
        file_size=0,
        layouts=("original",),
        modules=reports,
        dtypes=dict(Counter(module.dtype for module in reports).most_common()),
        info=read_training_info(notes),
        metadata=notes,
        unused_keys=(),
        problems=(),
        notes=(),
        hashes=None,
    )
    ordered = {name: modules[name] for name in names if name in modules}
    return Adapter(path, ordered, report, dict(biases), made_of=made_of)


def report_of(
    name: str, module: AdapterModule | None, bias: AdapterModule | None = None
) -> ModuleReport:
    """The report of LoRA, of a full difference, and of a bias beside either or alone.

    Raises `TypeError` for another algorithm, whose report only its file tells.
    """
    extra = ("diff_b",) if bias is not None else ()
    if isinstance(module, LoraModule):
        rank = module.down.shape[0]
        return ModuleReport(
            name,
            "lora",
            ("down", "up", "alpha", *extra),
            rank,
            module.scale * rank,
            module.scale,
            (module.up.shape[0], module.down.shape[1]),
            DTYPE_CODES[module.up.dtype],
        )
    if isinstance(module, DiffModule):
        # A norm's weight is a vector, and has a spelling of its own.
        vector = module.diff.ndim == 1
        parts = ("w_norm", *(("b_norm",) if extra else ())) if vector else ("diff", *extra)
        shape, dtype = tuple(module.diff.shape), DTYPE_CODES[module.diff.dtype]
        return ModuleReport(
            name, "norm" if vector else "full", parts, None, None, 1.0, shape, dtype
        )
    if module is None and isinstance(bias, DiffModule):
        dtype = DTYPE_CODES[bias.diff.dtype]
        return ModuleReport(name, "full", extra, None, None, 1.0, None, dtype)
    raise TypeError(f"{name} is {type(module or bias).__name__}, which its file must tell about.")


def _order(name: str) -> tuple[int, int, str]:
    block = anima.block_of(name)
    return anima.COMPONENTS.index(anima.component_of(name)), -1 if block is None else block, name


def size_note(names: Sequence[str], blocks: int | None) -> dict[str, str]:
    """The header's entry for the size `blocks` of the model, where the modules `names` tell another."""
    found = [block for block in map(anima.block_of, names) if block is not None]
    if blocks is None or not found or model_blocks(max(found)) == blocks:
        return {}
    return {BASE_BLOCKS_KEY: str(blocks)}
