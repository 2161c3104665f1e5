"""Adapters into files, through the gate, which is the only writer and asks every licence first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.pieces import Piece, Pieces, pieces_of
from lorakit.adapters.respelling import Spelled, respell
from lorakit.adapters.saving import config_text
from lorakit.adapters.tensor_file import DTYPE_CODES
from lorakit.errors import BadUsage, LorakitError
from lorakit.formats.inspection import AdapterReport
from lorakit.formats.layouts import WritableLayout
from lorakit.formats.peft_folder import CONFIG_NAME, WEIGHTS_NAME
from lorakit.gate import Derived, LazyTensor, Written, write_derived
from lorakit.gate.derived import Kind, Progress
from lorakit.gate.output import partial_file
from lorakit.gate.subjects import Subject
from lorakit.merging.provenance import encode_made
from lorakit.merging.rounding import DTYPES, Rounding, balanced, in_dtype, rounding
from lorakit.merging.side_by_side import side_by_side
from lorakit.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lorakit.catalog import Catalog

# The name that PEFT looks for in a folder.
_NO_ENTRIES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class WrittenAdapter:
    """An adapter that was written: what the gate says of it, its size in bytes, what rounding to the
    written dtype did, things to know, and adapter_config.json where the layout has one."""

    written: Written
    size: int
    rounding: Rounding
    remarks: tuple[str, ...]
    config: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "path": str(self.written.path),
            "notice": str(self.written.notice),
            "config": str(self.config) if self.config else None,
            "size": self.size,
            "content": self.written.content,
            "audit": self.written.audit,
            "rounding_error": self.rounding.error,
            "rounding_unmeasured": self.rounding.unmeasured,
            "remarks": list(self.remarks),
            "verdict": self.written.verdict.to_dict(),
        }


def write_adapter(
    catalog: Catalog,
    opened: Callable[[], Adapter],
    *,
    kind: Kind,
    what: str,
    ingredients: Sequence[Subject],
    output: str | Path,
    layout: WritableLayout,
    dtype: str | None,
    made: Mapping[str, Any],
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] = _NO_ENTRIES,
    stack: str = "",
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> WrittenAdapter:
    """Write the adapter that `opened` computes, made of `ingredients`, to `output`, if it may be written.

    `opened` is called once the verdict allows the file, never before. `dtype` (bf16, fp16, fp32, or None
    for tensors as they are) is what factors are rounded to, once, after their components were given even
    sizes. `made` is kept in the header as `lorakit.made`, and so is `metadata`, which may be a function
    that is called after `opened`. Raises what `write_derived` raises, and `NotFusable` for what `layout`
    has no spelling for.
    """

    def found() -> Pieces:
        return even_pieces(opened(), dtype)

    return write_pieces(
        catalog,
        found,
        kind=kind,
        what=what,
        ingredients=ingredients,
        output=output,
        layout=layout,
        dtype=dtype,
        made=made,
        metadata=metadata,
        stack=stack,
        lead_back=False,
        overwrite=overwrite,
        on_progress=on_progress,
    )


def write_pieces(
    catalog: Catalog,
    opened: Callable[[], Pieces],
    *,
    kind: Kind,
    what: str,
    ingredients: Sequence[Subject],
    output: str | Path,
    layout: WritableLayout,
    dtype: str | None,
    made: Mapping[str, Any],
    metadata: Mapping[str, str] | Callable[[], Mapping[str, str]] = _NO_ENTRIES,
    stack: str = "",
    lead_back: bool = True,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> WrittenAdapter:
    """As `write_adapter`, for the tensors of an adapter's file as they are."""
    if dtype is not None and dtype not in DTYPES:
        raise BadUsage(f"There is no dtype {dtype!r} to write.", hint=f"Give {', '.join(DTYPES)}.")
    path = output_path(output, layout)
    config = path.with_name(CONFIG_NAME) if layout == "peft" else None
    if config is not None and config.exists() and not overwrite:
        raise BadUsage(f"{config} exists already.", hint="--overwrite replaces it.")
    held: list[tuple[Spelled, Rounding]] = []

    def tensors() -> Mapping[str, LazyTensor]:
        held.append(spelled(opened(), layout, dtype, lead_back=lead_back))
        return {key: _lazy(tensor) for key, tensor in held[0][0].tensors.items()}

    def entries() -> Mapping[str, str]:
        brought = metadata() if callable(metadata) else metadata
        return {**brought, **held[0][0].metadata, **encode_made(made)}

    derived = Derived(kind, what, tensors, entries, stack=stack)
    with _folder_for(path, layout):
        written = write_derived(
            catalog, derived, ingredients, path, overwrite=overwrite, on_progress=on_progress
        )
    form, error = held[0]
    if config is not None and form.config is not None:
        _write_config(config, form.config)
    return WrittenAdapter(written, path.stat().st_size, error, form.remarks, config)


def own_dtype(reports: Sequence[AdapterReport]) -> str:
    """The narrowest of bf16, fp16 and fp32 that holds what most tensors of each adapter are."""
    found = {next(iter(report.dtypes), "F32") for report in reports}
    if found <= {"BF16", "F8_E4M3", "F8_E5M2"}:
        return "bf16"
    return "fp16" if found <= {"F16", "F8_E4M3", "F8_E5M2"} else "fp32"


def output_path(output: str | Path, layout: WritableLayout) -> Path:
    """The file to be written; PEFT's layout is a folder that holds two.

    Raises `BadUsage` for a file of another name, which PEFT would not find.
    """
    path = expanded(output)
    if layout != "peft":
        return path
    if path.suffix == ".safetensors" and path.name != WEIGHTS_NAME:
        raise BadUsage(
            f"PEFT reads a folder with {WEIGHTS_NAME} and {CONFIG_NAME}, and {path.name} is a file of "
            "another name.",
            hint="-o FOLDER writes both into it.",
        )
    return path if path.name == WEIGHTS_NAME else path / WEIGHTS_NAME


@contextmanager
def _folder_for(path: Path, layout: WritableLayout) -> Iterator[None]:
    """PEFT's folder, made if need be, and gone again where nothing was written into it."""
    made = layout == "peft" and not path.parent.exists() and path.parent.parent.is_dir()
    if made:
        path.parent.mkdir()
    try:
        yield
    except BaseException:
        if made:
            path.parent.rmdir()
        raise


def _write_config(path: Path, config: Mapping[str, object]) -> None:
    try:
        with partial_file(path.parent) as partial:
            partial.write_text(config_text(config), encoding="utf-8")
            partial.replace(path)
    except OSError as error:
        raise LorakitError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Without it PEFT cannot read the file beside it; write both again with --overwrite.",
        ) from error


def spelled(
    exact: Pieces, layout: WritableLayout, dtype: str | None, *, lead_back: bool
) -> tuple[Spelled, Rounding]:
    """The tensors of a file that holds `exact`, and what rounding to `dtype` does to them."""
    rounded = in_dtype(exact, DTYPES[dtype] if dtype else None)
    return respell(rounded, layout, lead_back=lead_back), rounding(exact, rounded)


def even_pieces(adapter: Adapter, dtype: str | None) -> Pieces:
    """What is written of an adapter in memory: components of even size for a 16-bit float."""
    pieces = pieces_of(adapter)
    jobs = (partial(_even_piece, piece, dtype) for piece in pieces.modules.values())
    return replace(pieces, modules=dict(zip(pieces.modules, side_by_side(jobs), strict=True)))


def _even_piece(piece: Piece, dtype: str | None) -> Piece:
    parts = dict(piece.parts)
    if piece.algo != "lora" or dtype not in ("bf16", "fp16") or "mid" in parts:
        return piece
    parts["up"], parts["down"] = balanced(parts["up"], parts["down"])
    return replace(piece, parts=parts)


def _lazy(tensor: torch.Tensor) -> LazyTensor:
    return LazyTensor(DTYPE_CODES[tensor.dtype], tuple(tensor.shape), lambda: tensor)
