"""The one function that writes weights of others to a file. It asks the policy itself, and nothing overrules it.

It is told what would be written and what it would be made from, never whether that is allowed: terms come
from the catalog, the files and their weights. Whoever wants such a file written goes through here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lorakit.errors import LorakitError
from lorakit.formats.header import DTYPE_BITS
from lorakit.formats.writing import encode_header
from lorakit.gate.derived import Derived, LazyTensor, Progress, Written
from lorakit.gate.header import metadata, strength
from lorakit.gate.judging import dossiers_of, verdict_on
from lorakit.gate.notice import notice_text
from lorakit.gate.output import check_output, check_space, notice_path, partial_file
from lorakit.gate.refusal import require_writable
from lorakit.gate.subjects import (
    Stamp,
    Subject,
    pinned,
    require_as_judged,
    require_unchanged,
    stamps,
)
from lorakit.licenses.dossier import Dossier
from lorakit.licenses.keeping import keep
from lorakit.licenses.policy import SAME_WORK, Verdict
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

ACTION = "export"


def write_derived(
    catalog: Catalog,
    derived: Derived,
    ingredients: Sequence[Subject],
    output: str | Path,
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Written:
    """Write `derived`, made from all of `ingredients`, to `output`, if every licence allows it.

    The verdict is recorded in the audit either way. Raises `Refused` before anything is opened, computed
    or created when it does not allow the file; `BadUsage` for an output that is in the way, `BadFile` for
    an ingredient that is not what it was, `LorakitError` where there is no room.
    """
    output = expanded(output)
    before = stamps(ingredients)
    subjects = [pinned(subject) for subject in ingredients]
    dossiers = dossiers_of(catalog, subjects)
    verdict = verdict_on(dossiers, same_work=derived.kind == "re-encoded adapter")
    decision = _decision(derived, subjects, verdict, output)
    if not verdict.allowed:
        catalog.record_decision(ACTION, "refused", decision)
    require_writable(verdict, derived, subjects, output)
    check_output(output, subjects, overwrite=overwrite)
    on_progress(0, 0, "checking the base")
    require_as_judged(subjects)
    audit = catalog.record_decision(ACTION, "allowed", decision)
    tensors = derived.open()
    header = _header(tensors, metadata(derived, subjects, verdict, output, audit))
    notice = notice_text(derived, subjects, verdict, output, audit).encode()
    try:
        content = _write(output, header, tensors, notice, before, on_progress)
    except OSError as error:
        raise LorakitError(f"{output} cannot be written: {error.strerror or error}.") from error
    keep(catalog, content, (), [_as_ancestor(dossier, verdict) for dossier in dossiers])
    return Written(output, notice_path(output), verdict, content, audit)


def _as_ancestor(dossier: Dossier, verdict: Verdict) -> Dossier:
    """As the catalog keeps an ingredient of what was written, should the file lose its header."""
    how = SAME_WORK if verdict.same_work else "was made here with"
    return replace(dossier, relation=f"{how} {dossier.name}")


def _decision(
    derived: Derived, subjects: Sequence[Subject], verdict: Verdict, output: Path
) -> dict[str, object]:
    """What the audit keeps."""
    document = verdict.to_dict()
    for subject, entry in zip(subjects, document["ingredients"], strict=True):
        entry["strength"] = strength(subject)
    return {**document, "kind": derived.kind, "what": derived.what, "file": output.name}


def _header(tensors: Mapping[str, LazyTensor], entries: Mapping[str, str]) -> bytes:
    order = _file_order(tensors)
    return encode_header(((n, tensors[n].dtype, tensors[n].shape) for n in order), entries)


def _file_order(tensors: Mapping[str, LazyTensor]) -> list[str]:
    """The names, widest dtype first, as the reference writer sorts them: so every tensor is aligned."""
    return sorted(tensors, key=lambda name: (-DTYPE_BITS[tensors[name].dtype], name))


def _write(
    output: Path,
    header: bytes,
    tensors: Mapping[str, LazyTensor],
    notice: bytes,
    before: Sequence[Stamp],
    on_progress: Progress,
) -> str:
    """Stream everything into files beside `output`, then rename them. Returns the content's hash."""
    needed = len(header) + sum(tensor.size for tensor in tensors.values()) + len(notice)
    check_space(output.parent, needed)
    with partial_file(output.parent) as beside, partial_file(output.parent) as written:
        beside.write_bytes(notice)
        with written.open("wb") as file:
            file.write(header)
            content = _write_tensors(file, tensors, on_progress)
            file.flush()
            os.fsync(file.fileno())
        require_unchanged(before)
        # The notice first: a file never stands without its obligations. Renaming replaces a link and
        # does not follow it.
        beside.replace(notice_path(output))
        written.replace(output)
    return content


def _write_tensors(
    file: IO[bytes], tensors: Mapping[str, LazyTensor], on_progress: Progress
) -> str:
    from lorakit.adapters.tensor_file import raw_bytes

    content = hashlib.sha256()
    order = _file_order(tensors)
    for done, name in enumerate(order, start=1):
        data = raw_bytes(tensors[name].load())
        if len(data) != tensors[name].size:
            raise LorakitError(
                f"{name} came out in another size than was planned; please report it."
            )
        file.write(data)
        content.update(data)
        del data
        on_progress(done, len(order), name)
    return content.hexdigest()
