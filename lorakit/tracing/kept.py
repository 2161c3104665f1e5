"""Sketches that the catalog keeps, taken when they are first asked for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lorakit.catalog.naming import HASH_PREFIX, listed, name_of_file, normal
from lorakit.errors import Ambiguous, BadFile, NotFound
from lorakit.formats.hashing import hash_file, hash_model
from lorakit.formats.header import read_header

if TYPE_CHECKING:
    from lorakit.adapters.adapter import Adapter
    from lorakit.catalog.catalog import Catalog
    from lorakit.catalog.records import BaseRecord, SketchRecord
    from lorakit.sketches.fingerprint import Fingerprint
    from lorakit.sketches.sketch import Sketch


def kept_fingerprint(catalog: Catalog, record: SketchRecord) -> Fingerprint:
    """What the catalog keeps of a model. Raises `BadFile` where it is damaged, `NotFound` if gone."""
    from lorakit.sketches.fingerprint import from_bytes

    return from_bytes(catalog.sketch_data(record), f"The sketch of {record.name} in the catalog")


def ensure_base_sketch(catalog: Catalog, record: BaseRecord) -> Sketch:
    """The sketch of a registered base, from the catalog, else taken of its file and kept.

    A base that was registered before contents were recorded is given its `tensor_sha256`, too. Raises
    `NotFound` and `BadFile` when it has to be taken and the file is missing, changed or damaged.
    """
    if record.tensor_sha256 is not None:
        found = _kept(catalog, record.tensor_sha256, "base")
        if found is not None:
            return found
    from lorakit.sketches.reading import sketch_checkpoint

    path = record.unchanged_path()
    sketch = sketch_checkpoint(path)
    record = record if record.tensor_sha256 is not None else _complete(catalog, record, path)
    keep_base_sketch(catalog, record, sketch)
    return sketch


def keep_base_sketch(catalog: Catalog, record: BaseRecord, sketch: Sketch) -> None:
    """Keep the sketch of a base whose content is known."""
    from lorakit.sketches.fingerprint import Fingerprint, to_bytes

    content = record.tensor_sha256
    assert content is not None
    name, model, parent = record.name, record.model, record.parent
    data = to_bytes(Fingerprint("base", name, content, sketch, model, parent))
    catalog.keep_sketch(content, "base", name=name, model=model, parent=parent, data=data)


def ensure_adapter_sketch(
    catalog: Catalog,
    content: str,
    path: Path,
    name: str | None = None,
    load: Callable[[Path], Adapter] | None = None,
    *,
    trust: bool = False,
) -> Sketch:
    """The sketch of an adapter by content, from the catalog, else taken of the file at `path` and kept.

    Modules that need a base's weights are undecided in it. `name` is the file's own where it is left
    out; `load` reads the file, for a caller who needs the adapter too. The file is hashed first, to be sure
    that it holds this content; with `trust` not where its size and time are as on record. Raises `BadFile`
    when it has to be taken and the file is missing, damaged, or holds another content, and `NotFusable` for
    an algorithm that lorakit does not apply.
    """
    found = _kept(catalog, content, "adapter")
    if found is not None:
        return found
    known = trust and catalog.lies_unmoved(path, content)
    if not known and hash_file(path, read_header(path).data_offset).tensor_sha256 != content:
        raise BadFile(
            f"{path} holds another adapter than the one that was added.",
            hint=f"Add it again: lorakit add {shlex.quote(str(path))}",
        )
    from lorakit.adapters.loading import load_adapter
    from lorakit.sketches.adapters import sketch_adapter
    from lorakit.sketches.fingerprint import Fingerprint, to_bytes

    sketch = sketch_adapter((load or load_adapter)(path))
    called = name or name_of_file(str(path))
    data = to_bytes(Fingerprint("adapter", called, content, sketch))
    catalog.keep_sketch(content, "adapter", name=called, model=None, parent=None, data=data)
    return sketch


def find_content(catalog: Catalog, name: str) -> str:
    """The content of the registered base or learnt fingerprint that `name` means.

    It is a whole name, the beginning of one, or `sha256:PREFIX` of the content. A base without a
    content is given one, which reads its file. Raises `NotFound` and `Ambiguous` with the names there
    are, and what `ensure_base_sketch` raises.
    """
    bases, learnt = catalog.bases(), catalog.sketches("fingerprint")
    models: list[BaseRecord | SketchRecord] = [*bases, *learnt]
    prefix = name.lower().removeprefix(HASH_PREFIX) if name.lower().startswith(HASH_PREFIX) else ""
    wanted = normal(name)
    ways = (
        [model for model in models if prefix and (_content(model) or "").startswith(prefix)],
        [model for model in models if model.name == wanted],
        [model for model in models if wanted and model.name.startswith(wanted)],
        [
            model
            for model in models
            if wanted and model.name.casefold().startswith(wanted.casefold())
        ],
    )
    found = next((way for way in ways if way), [])
    if not found:
        names = sorted({model.name for model in models})
        there = f"There are: {listed(names)}. " if names else ""
        raise NotFound(
            f"No base or fingerprint is called {name!r}.",
            hint=f"{there}Register one with `lorakit base add`, or learn it with `lorakit trace learn`.",
        )
    contents = {_content(model) for model in found}
    if len(contents) > 1 or (None in contents and len(found) > 1):
        names = sorted({model.name for model in found})
        raise Ambiguous(f"{name!r} fits {len(found)} models.", hint=f"Say which: {listed(names)}")
    content = contents.pop()
    if content is not None:
        return content
    record = next(base for base in bases if base.name == found[0].name)
    ensure_base_sketch(catalog, record)
    return find_content(catalog, record.name)


def known_parent(catalog: Catalog, content: str) -> str | None:
    """The content that a model was made from, by any registration or sketch of the same content."""
    return next((parent for own, parent in _parents(catalog) if own == content and parent), None)


def is_made_from(catalog: Catalog, content: str, ancestor: str) -> bool:
    """Whether `content` is `ancestor`, or was made from it at any remove."""
    parents = {own: parent for own, parent in _parents(catalog) if parent is not None}
    seen: set[str] = set()
    step: str | None = content
    while step is not None and step not in seen:
        if step == ancestor:
            return True
        seen.add(step)
        step = parents.get(step)
    return False


def _parents(catalog: Catalog) -> Iterable[tuple[str, str | None]]:
    for base in catalog.bases():
        if base.tensor_sha256 is not None:
            yield base.tensor_sha256, base.parent
    for sketch in catalog.sketches():
        yield sketch.content, sketch.parent


def _content(model: BaseRecord | SketchRecord) -> str | None:
    return getattr(model, "tensor_sha256", None) or getattr(model, "content", None)


def _kept(catalog: Catalog, content: str, kind: Literal["base", "adapter"]) -> Sketch | None:
    record = catalog.sketch(content, kind)
    if record is None:
        return None
    try:
        return kept_fingerprint(catalog, record).sketch
    except BadFile:
        # The file is there to take it from again.
        return None


def _complete(catalog: Catalog, record: BaseRecord, path: Path) -> BaseRecord:
    """Record the content of a base. Raises `BadFile` when its bytes are not those registered."""
    hashes = hash_model(path).whole
    if record.file_sha256 not in (None, hashes.file_sha256):
        raise BadFile(
            f"The file of the base {record.name} has changed since it was registered: {path}.",
            hint="Register it again with `lorakit base add`, naming the model it is now.",
        )
    return catalog.add_base(
        path,
        name=record.name,
        model=record.model,
        prefix=record.prefix,
        blocks=record.blocks,
        dtype=record.dtype,
        components=record.components,
        file_sha256=hashes.file_sha256,
        tensor_sha256=hashes.tensor_sha256,
        parent=record.parent,
    )
