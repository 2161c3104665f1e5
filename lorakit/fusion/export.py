"""Writing a merged checkpoint: the one function that can, and it asks the policy itself."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lorakit import __version__
from lorakit.bases import ChosenBase, choose_base
from lorakit.errors import BadFile, BadUsage, LorakitError, NotFusable
from lorakit.formats.hashing import hash_file
from lorakit.formats.header import read_header
from lorakit.formats.writing import encode_header
from lorakit.licenses.policy import Verdict, judge, require_allowed
from lorakit.stack import ResolvedEntry, Stack, resolve_stack
from lorakit.strengths import refuse_scheduled

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.fusion.base import BaseTensors
    from lorakit.fusion.patches import Patch
    from lorakit.fusion.plan import FusionPlan

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Exported:
    """What was written: the checkpoint, the notice beside it, and the verdict that allowed it."""

    path: Path
    notice: Path
    verdict: Verdict


def export_checkpoint(
    catalog: Catalog,
    base: str | None,
    stack: Stack,
    output: Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Exported:
    """Fuse `stack` onto the base called `base` and write the result to `output`.

    The terms of every ingredient come from the catalog and the files themselves, never from the
    caller; the verdict is recorded in the audit table either way. Raises `Refused` before anything is
    computed or created when it does not allow the file; `BadUsage` for an output that is in the way,
    and for a strength that holds in some denoising steps only.
    """
    chosen = choose_base(catalog, base)
    entries = [_with_hash(entry) for entry in resolve_stack(stack, catalog)]
    verdict = judge([chosen.ingredient(), *(entry.ingredient() for entry in entries)])
    subject = {**verdict.to_dict(), "stack": str(stack)}
    if not verdict.allowed:
        catalog.record_decision("export", "refused", subject)
    require_allowed(verdict, f"Writing {output.name}, {stack} merged into {chosen.name},")
    refuse_scheduled(entry.strength for entry in entries)
    _check_output(output, chosen, entries, overwrite)
    catalog.record_decision("export", "allowed", subject)
    _write(output, chosen, entries, verdict, on_progress)
    return Exported(output, _notice_path(output), verdict)


def _with_hash(entry: ResolvedEntry) -> ResolvedEntry:
    """The entry with the hash of the file as it is now; the catalog may not have seen the latest."""
    header = read_header(entry.path)
    return replace(entry, sha256=hash_file(entry.path, header.data_offset).file_sha256)


def _notice_path(output: Path) -> Path:
    """Where the obligations of a merged checkpoint stand: beside it."""
    return output.with_name(f"{output.stem}.NOTICE.txt")


def _check_output(
    output: Path, chosen: ChosenBase, entries: Sequence[ResolvedEntry], overwrite: bool
) -> None:
    if output.suffix != ".safetensors":
        raise BadUsage(f"The output must end in .safetensors, and {output} does not.")
    if not output.parent.is_dir():
        raise BadUsage(f"There is no folder {output.parent}.")
    if not str(output).isprintable():
        raise BadUsage(f"The output {str(output)!r} cannot be a file name that others read.")
    ingredients = {path.resolve() for path in (chosen.path, *(entry.path for entry in entries))}
    for path in (output, _notice_path(output)):
        if path.resolve() in ingredients:
            raise BadUsage(f"{path} is one of the ingredients; choose another name.")
        there = path.is_symlink() or path.exists()
        if there and not overwrite:
            raise BadUsage(f"{path} exists already.", hint="--force overwrites it.")
        if there and not path.is_file() and not path.is_symlink():
            raise BadUsage(f"{path} is no file; choose another name.")
    # A touched 8-bit weight doubles in size; twice the base covers every case.
    needed = chosen.path.stat().st_size * 2
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise LorakitError(
            f"{output.parent} has {free:,} bytes free, and up to {needed:,} are needed."
        )


def _write(
    output: Path,
    chosen: ChosenBase,
    entries: Sequence[ResolvedEntry],
    verdict: Verdict,
    on_progress: Progress,
) -> None:
    """Stream the fused tensors into a temporary file beside `output`, then rename it."""
    from lorakit.adapters.loading import load_adapter
    from lorakit.fusion.base import open_base
    from lorakit.fusion.patches import iter_patches
    from lorakit.fusion.plan import plan_fusion

    tensors = open_base(chosen.path)
    _require_as_registered(chosen)
    plan = plan_fusion(tensors.modules, [(e.name, e.strength, e.report) for e in entries])
    adapters = [(load_adapter(entry.path), entry.strength) for entry in entries]
    _require_checkpoint_only(plan)
    patches = dict(iter_patches(tensors, plan, adapters))
    metadata = {
        "format": "pt",
        "modelspec.merged_from": ", ".join([chosen.name, *(e.name for e in entries)]),
        "modelspec.license": _license(verdict),
        "lorakit.version": __version__,
        "lorakit.ingredients": json.dumps(verdict.to_dict()["ingredients"]),
    }
    notice = _notice(output, chosen, entries, verdict).encode()
    with ExitStack() as clean_up:
        beside = _temporary(output.parent, clean_up)
        merged = _temporary(output.parent, clean_up)
        beside.write_bytes(notice)
        with merged.open("wb") as file:
            _write_tensors(file, tensors, patches, metadata, on_progress)
            os.fsync(file.fileno())
        # The notice first: a checkpoint never stands without its obligations. Renaming replaces a link
        # and does not follow it.
        beside.replace(_notice_path(output))
        merged.replace(output)


def _temporary(folder: Path, clean_up: ExitStack) -> Path:
    """A new file in `folder` with the mode of any other, gone again unless it was renamed."""
    path = folder / f".lorakit-{secrets.token_hex(8)}.part"
    path.touch(exist_ok=False)
    clean_up.callback(path.unlink, missing_ok=True)
    return path


def _require_as_registered(chosen: ChosenBase) -> None:
    """Raise `BadFile` unless the base's bytes are those whose terms were judged."""
    found = hash_file(chosen.path, read_header(chosen.path).data_offset).file_sha256
    if found != chosen.sha256:
        raise BadFile(
            f"The file of the base {chosen.name} is not the one that was registered: {chosen.path}.",
            hint="Register it again with `lorakit base add`, naming the model it is now.",
        )


def _require_checkpoint_only(plan: FusionPlan) -> None:
    entry = next((entry for entry in plan.entries if entry.text_encoder), None)
    if entry is not None:
        raise NotFusable(
            f"{entry.label} also changes the text encoder ({len(entry.text_encoder)} modules), which a "
            "checkpoint of the diffusion model does not hold.",
            hint="Leave the entry out, or share the recipe instead: `lorakit stack ... --save FILE.toml`.",
        )


def _write_tensors(
    file: IO[bytes],
    tensors: BaseTensors,
    patches: Mapping[str, list[Patch]],
    metadata: Mapping[str, str],
    on_progress: Progress,
) -> None:
    import torch

    from lorakit.adapters.tensor_file import DTYPE_CODES, file_order, raw_bytes
    from lorakit.fusion.patches import fuse_weight

    dtypes = {
        key: tensors.kept_dtype(key) if key in patches else tensors[key].dtype for key in tensors
    }
    order = file_order(dtypes)
    described = ((key, DTYPE_CODES[dtypes[key]], tuple(tensors[key].shape)) for key in order)
    file.write(encode_header(described, metadata))
    for done, key in enumerate(order, start=1):
        weight = tensors[key]
        if key in patches:
            weight = fuse_weight(tensors.exact(key), patches[key], torch.device("cpu"), dtypes[key])
        file.write(raw_bytes(weight))
        on_progress(done, len(order), key)


def _license(verdict: Verdict) -> str:
    found = (i.terms.license or i.terms.title for i in verdict.ingredients)
    return " AND ".join(dict.fromkeys(found))


def _notice(
    output: Path, chosen: ChosenBase, entries: Sequence[ResolvedEntry], verdict: Verdict
) -> str:
    lines = [f"{output.name} is a merge, made with lorakit {__version__}.", "", "It contains:"]
    lines.append(f"- {chosen.name} ({chosen.terms.title}), sha256 {chosen.sha256 or 'not known'}")
    lines += [
        f"- {e.name} at strength {e.strength}, sha256 {e.sha256 or 'not known'}" for e in entries
    ]
    if verdict.obligations:
        lines += ["", "Whoever shares it must:"]
        lines += [f"- {obligation}" for obligation in verdict.obligations]
    return "\n".join(lines) + "\n"
