"""The files that a model consists of: one, numbered shards, those of an index, or a folder's.

A checkpoint is one file, or shards that lie side by side and perhaps have an index, as transformers and
diffusers write them. A diffusers pipeline keeps the transformer and the text adapter in folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from lorakit.errors import BadFile
from lorakit.formats import strict_json
from lorakit.paths import is_file

# A folder of a diffusers pipeline -> what stands before its keys once they are put together.
_PIPELINE: Mapping[str, str] = MappingProxyType(
    {"transformer": "", "text_conditioner": "llm_adapter."}
)
_USUAL_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
INDEX_SUFFIX = ".safetensors.index.json"
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]+)-of-(?P<count>[0-9]+)\.safetensors")
_MOST_INDEX_BYTES = 100_000_000
_MOST_SHARDS = 1000
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; `before` is what stands before its keys in the model as a whole.

    `keys` are those that an index says it holds.
    """

    path: Path
    before: str = ""
    keys: frozenset[str] = frozenset()


def model_files(path: Path) -> tuple[ModelFile, ...]:
    """The files of the model at `path`: a file, a shard, an index of shards, or a folder; none is opened.

    Raises `BadFile` for a folder without any, an index that is none, and shards that are missing, by
    name. A file that is not there is one all the same: whoever opens it says so.
    """
    return tuple(_model_files(path))


def _model_files(path: Path) -> Iterator[ModelFile]:
    if not is_pipeline(path):
        yield from _files_of(path)
        return
    for name, before in _PIPELINE.items():
        if is_folder(path / name):
            yield from (replace(file, before=before) for file in _files_of(path / name))


def is_pipeline(path: Path) -> bool:
    """Whether `path` is a folder as diffusers saves a whole pipeline, with the transformer in one of its own."""
    return is_folder(path / "transformer") and not _files_in(path)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; never raises, not even for a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112 (Path's own raises)


def _files_of(path: Path) -> list[ModelFile]:
    if is_folder(path):
        return _chosen(path, _files_in(path))
    if path.name.endswith(".json"):
        return _indexed(path)
    return _plain(_siblings(path))


def _plain(files: list[Path]) -> list[ModelFile]:
    return [ModelFile(file) for file in files]


def _files_in(folder: Path) -> list[Path]:
    """The indices and safetensors files of a folder. Raises `BadFile` when it cannot be read."""
    try:
        return sorted(
            file for file in folder.iterdir() if file.name.endswith((".safetensors", INDEX_SUFFIX))
        )
    except OSError as error:
        raise BadFile(f"{folder} cannot be read: {error.strerror or error}.") from error


def _chosen(folder: Path, files: list[Path]) -> list[ModelFile]:
    indices = [file for file in files if file.name.endswith(INDEX_SUFFIX)]
    if len(indices) == 1:
        return _indexed(indices[0])
    weights = [file for file in files if file not in indices]
    usual = [file for file in weights if file.name in _USUAL_NAMES]
    if len(usual) == 1:
        return _plain(usual)
    if not weights:
        raise BadFile(
            f"The folder {folder} holds no safetensors file.",
            hint="Name the checkpoint itself, or the folder of its shards.",
        )
    stems = {match["stem"] for file in weights if (match := _SHARD.fullmatch(file.name))}
    if len(stems) == 1:
        return _plain(_siblings(next(file for file in weights if _SHARD.fullmatch(file.name))))
    return _plain(weights)


def _indexed(index: Path) -> list[ModelFile]:
    """The files that an index names, all of which lie beside it, and their keys. Raises `BadFile`."""
    try:
        with index.open("rb") as file:
            raw = file.read(_MOST_INDEX_BYTES)
        document = strict_json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise BadFile(f"{index} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{index} is not valid JSON: {error}.") from error
    names = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(names, dict) or not names:
        raise BadFile(
            f"{index} has no weight_map, so it is no index of shards.",
            hint="Name the checkpoint, its folder, or its .safetensors.index.json.",
        )
    keys: dict[str, set[str]] = {}
    for key, name in names.items():
        keys.setdefault(str(name), set()).add(key)
    strange = next((n for n in keys if not n or Path(n).name != n or "\0" in n), None)
    if strange is not None:
        raise BadFile(f"{index} names {strange[:200]!r}, which is not a file beside it.")
    _all_there(index, [index.with_name(name) for name in sorted(keys)])
    return [
        ModelFile(index.with_name(name), keys=frozenset(own)) for name, own in sorted(keys.items())
    ]


def _siblings(path: Path) -> list[Path]:
    """The numbered shards that `path` is one of; `path` alone when it has no such number."""
    match = _SHARD.fullmatch(path.name)
    if match is None or not 1 <= int(match["count"]) <= _MOST_SHARDS:
        return [path]
    digits, count = len(match["number"]), match["count"]
    names = [
        f"{match['stem']}-{number:0{digits}}-of-{count}.safetensors"
        for number in range(1, int(count) + 1)
    ]
    return _all_there(path, [path.with_name(name) for name in names])


def _all_there(path: Path, shards: list[Path]) -> list[Path]:
    missing = [shard.name for shard in shards if not is_file(shard)]
    if missing:
        more = "" if len(missing) <= _MOST_NAMED else f" and {len(missing) - _MOST_NAMED} more"
        part = "names" if path.name.endswith(".json") else "is one of"
        raise BadFile(
            f"{path} {part} {len(shards)} shards, of which {', '.join(missing[:_MOST_NAMED])}{more} "
            "cannot be found.",
            hint="Put all shards into one folder.",
        )
    return shards
