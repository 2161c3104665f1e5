"""Everything that the files beside one model say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lorakit.formats.sidecars import values
from lorakit.formats.sidecars.a1111 import SOURCE as A1111
from lorakit.formats.sidecars.a1111 import a1111_facts, is_a1111, text_facts
from lorakit.formats.sidecars.beside import PREVIEWS, Beside
from lorakit.formats.sidecars.civitai import model_facts, version_facts
from lorakit.formats.sidecars.documents import JsonReader, failure, read_json, read_note, read_text
from lorakit.formats.sidecars.lora_manager import SOURCE as LORA_MANAGER
from lorakit.formats.sidecars.lora_manager import lora_manager_facts
from lorakit.formats.sidecars.modelspec import swarm_facts
from lorakit.formats.sidecars.rgthree import rgthree_facts
from lorakit.formats.sidecars.said import SidecarFacts
from lorakit.formats.sidecars.stability_matrix import stability_matrix_facts

CIVITAI_HELPER = "civitai-helper"
CIVITAI = "civitai"


@dataclass(frozen=True, slots=True)
class Read:
    """What was read beside a model; `problems` are sentences that name the file."""

    facts: tuple[SidecarFacts, ...] = ()
    problems: tuple[str, ...] = ()


def read_beside(
    model: str | Path,
    files: Sequence[Beside],
    hashes: Iterable[str] = (),
    read: JsonReader = read_json,
) -> Read:
    """What `files` say of the model that they lie beside.

    `hashes` are the model's own (of the file and of the tensors, lower-case hex): a record that states
    others is kept, with a problem. A file that cannot be read is a problem, no error.
    """
    own = frozenset(hashes)
    facts: list[SidecarFacts] = []
    problems: list[str] = []
    for file in files:
        if file.ending in PREVIEWS:
            continue
        try:
            found = _of_file(file, Path(model).stem, own, read)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(failure(Path(file.path), error))
            continue
        if found is None:
            continue
        facts.append(found)
        if own and found.hashes and not _fits(found.hashes, own):
            problems.append(
                f"{Path(file.path).name} describes another file: it states a SHA-256 that is not that of "
                f"{Path(model).name}. What it says is kept as its own word."
            )
    return Read(tuple(_with_cover(facts, files)), tuple(problems))


def _of_file(
    file: Beside, stem: str, hashes: frozenset[str], read: JsonReader
) -> SidecarFacts | None:
    path = Path(file.path)
    if file.ending == ".sha256":
        words = read_text(path).split()
        return SidecarFacts("", file.path, {}, hashes=values.sha256(*words[:1]))
    if file.ending.endswith(".txt"):
        return text_facts(read_note(path), file.path)
    document = read(path)
    if not isinstance(document, dict):
        raise ValueError("it holds no object")
    return _of_document(document, file, stem, hashes)


def _of_document(
    document: Mapping[str, Any], file: Beside, stem: str, hashes: frozenset[str]
) -> SidecarFacts | None:
    place = file.path
    match file.ending:
        case ".metadata.json":
            return lora_manager_facts(document, place, stem)
        case ".json":
            return a1111_facts(document, place) if is_a1111(document) else None
        case ".civitai.info" | ".civitai.json" | ".api_info.json":
            source = CIVITAI_HELPER if file.ending == ".civitai.info" else CIVITAI
            if "modelVersions" in document:
                return model_facts(document, place, source, hashes)
            return version_facts(document, place, source)
        case ".cm-info.json":
            return stability_matrix_facts(document, place)
        case ".swarm.json":
            return swarm_facts(document, place)
        case _:
            return rgthree_facts(document, place)


def _fits(stated: Iterable[str], own: frozenset[str]) -> bool:
    return any(mine.startswith(one) for one in stated for mine in own)


def _with_cover(facts: Sequence[SidecarFacts], files: Sequence[Beside]) -> Iterator[SidecarFacts]:
    """`facts`, and the picture beside the model: LoRA Manager's choice, and the first by its name."""
    pictures = [file for file in files if file.ending in PREVIEWS]
    by_name = {Path(picture.path).name: picture.path for picture in pictures}
    for one in facts:
        if one.source == LORA_MANAGER:
            named = values.line(one.others.get("preview_url")) or ""
            chosen = by_name.get(named.replace("\\", "/").rsplit("/", 1)[-1])
            if chosen:
                yield replace(one, fields={**one.fields, "cover": chosen})
                continue
        if one.source:
            yield one
    if pictures:
        # Programs agree on the names of pictures, after A1111.
        yield SidecarFacts(A1111, pictures[0].path, {"cover": pictures[0].path})
