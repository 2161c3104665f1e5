"""Writing and learning fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorakit.errors import BadUsage, LorakitError, NotFound
from lorakit.paths import expanded

if TYPE_CHECKING:
    from lorakit.catalog import Catalog
    from lorakit.sketches.fingerprint import Fingerprint, StatedTerms
    from lorakit.tracing.known import Known


@dataclass(frozen=True)
class Written:
    """A fingerprint file: where it is, what it is of, and its size in bytes."""

    path: Path
    name: str
    content: str
    size: int


def stated_terms(
    share_merges: str | None, statement: str | None, source: str | None
) -> StatedTerms | None:
    """The terms that an author puts into a fingerprint. Raises `BadUsage` for half of them."""
    from lorakit.licenses.terms import ShareMerges
    from lorakit.sketches.fingerprint import StatedTerms

    if share_merges is None:
        if statement or source:
            raise BadUsage("Terms need --share-merges, which says what is allowed.")
        return None
    allowed = [str(value) for value in ShareMerges if value is not ShareMerges.UNKNOWN]
    if share_merges not in allowed:
        raise BadUsage(f"--share-merges is one of {', '.join(allowed)}.")
    if not source:
        raise BadUsage("Terms need a source: --source says where they stand.")
    return StatedTerms(share_merges, statement or f"Sharing merges: {share_merges}.", source)


def write_fingerprint(
    catalog: Catalog,
    name: str,
    output: Path,
    terms: StatedTerms | None,
    *,
    overwrite: bool = False,
) -> Written:
    """Write the fingerprint of the base or adapter `name` to `output`.

    Raises `NotFound` for a name that is neither, `BadUsage` for a file that is there already.
    """
    from dataclasses import replace

    from lorakit.gate.output import partial_file
    from lorakit.sketches.fingerprint import to_bytes

    path = expanded(str(output))
    if path.exists() and not (overwrite and path.is_file()):
        raise BadUsage(f"{path} exists already.", hint="--overwrite replaces a file.")
    found = replace(_fingerprint(catalog, name), terms=terms)
    data = to_bytes(found)
    try:
        with partial_file(path.parent) as beside:
            beside.write_bytes(data)
            beside.replace(path)
    except OSError as error:
        raise LorakitError(f"{path} cannot be written: {error.strerror or error}.") from error
    return Written(path, found.name, found.content, len(data))


def _fingerprint(catalog: Catalog, name: str) -> Fingerprint:
    from lorakit.sketches.fingerprint import Fingerprint
    from lorakit.tracing.kept import ensure_adapter_sketch, ensure_base_sketch

    try:
        base = catalog.base(name)
    except NotFound:
        try:
            record = catalog.resolve(name)
        except NotFound as error:
            raise NotFound(
                f"No base or adapter is called {name}.",
                hint="Register it first: `lorakit base add FILE`, or `lorakit add FILE`.",
            ) from error
        content = record.tensor_sha256
        kept = catalog.sketch(content, "adapter")
        path = record.path if kept is not None and record.path else record.existing_path()
        sketch = ensure_adapter_sketch(catalog, content, path, record.name)
        return Fingerprint("adapter", record.name, content, sketch)
    sketch = ensure_base_sketch(catalog, base)
    base = catalog.base(base.name)
    assert base.tensor_sha256 is not None
    parent = _parent(catalog, base.tensor_sha256)
    return Fingerprint("base", base.name, base.tensor_sha256, sketch, base.model, parent)


def _parent(catalog: Catalog, content: str) -> str | None:
    """What a base was made from: as it was said, else as its weights say."""
    from lorakit.licenses.known import lineages
    from lorakit.tracing.candidates import known_weights
    from lorakit.tracing.own_change import Family
    from lorakit.tracing.relation import Relations

    family = Family(known_weights(catalog), lineages(), Relations())
    one = next(known for known in family.known if known.content == content)
    return next((own.parent.content for own in family.own_changes(one) if own.parent), one.parent)


def learn_fingerprint(catalog: Catalog, file: str, name: str | None, model: str | None) -> Known:
    """Keep the fingerprint in `file`, with the terms that it states and the model it is said to be.

    Raises `NotFound` for a missing file, `BadFile` for what is no fingerprint, and `BadUsage` for a model
    that is not in the table.
    """
    from lorakit.catalog.naming import check_name
    from lorakit.licenses.terms import ShareMerges, Terms, model_terms
    from lorakit.sketches.fingerprint import read_fingerprint
    from lorakit.tracing.known import Known, held_by

    path = expanded(file)
    if not path.is_file():
        raise NotFound(f"There is no file {file}.")
    if model is not None:
        model_terms(model)
    found = read_fingerprint(path)
    called, key = name or found.name, model or found.model
    check_name(called)
    catalog.keep_sketch(
        found.content,
        "fingerprint",
        name=called,
        model=key,
        parent=found.parent,
        data=path.read_bytes(),
    )
    if found.terms is not None:
        stated = found.terms
        try:
            share = ShareMerges(stated.share_merges)
        except ValueError:
            share = ShareMerges.UNKNOWN
        terms = Terms(called, share, stated.statement, stated.source, None)
        catalog.record_claim(
            found.content,
            origin="card",
            source=f"its fingerprint, {path.name}",
            terms=terms.to_dict(),
            model=key,
        )
    return Known(found.content, called, held_by(found.kind), found.sketch, key, found.parent)
