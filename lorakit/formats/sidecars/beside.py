"""Which files lie beside which models: by their names alone, for many models at once."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from stat import S_ISREG
from zlib import crc32

# In the order in which a person would want them: LoRA Manager's, then A1111's and Civitai Helper's, then
# what else is shown by one program or another. A film or animation is no cover.
PREVIEWS = (
    ".webp",
    ".preview.webp",
    ".preview.png",
    ".preview.jpeg",
    ".preview.jpg",
    ".png",
    ".jpeg",
    ".jpg",
    ".gif",
    ".avif",
    ".preview.gif",
    ".example.0.jpeg",
    ".thumb.jpg",
    ".thumb.png",
    ".thumb.webp",
    ".jxl",
)
RECORDS = (
    ".metadata.json",
    ".json",
    ".description.txt",
    ".txt",
    ".civitai.info",
    ".civitai.json",
    ".api_info.json",
    ".cm-info.json",
    ".swarm.json",
    ".safetensors.rgthree-info.json",
    ".sft.rgthree-info.json",
    ".sha256",
)
_ENDINGS = {ending: place for place, ending in enumerate((*RECORDS, *PREVIEWS))}
_PLACES = {ending[1:]: place for ending, place in _ENDINGS.items()}


@dataclass(frozen=True, slots=True)
class Beside:
    """A file beside a model's: its path, its ending in lower case, its size and its time."""

    path: str
    ending: str
    size: int
    mtime_ns: int


def files_beside(models: Iterable[str]) -> dict[str, tuple[Beside, ...]]:
    """The known files beside each of `models` (absolute paths), in the order of their endings.

    A model without any is left out. Each folder is listed once; one that cannot be listed is empty.
    """
    found: dict[str, list[Beside]] = {}
    for folder, own in _by_folder(models).items():
        for entry, ending, stat, beside in _known_files(folder, own):
            file = Beside(entry.path, ending, stat.st_size, stat.st_mtime_ns)
            for model in beside:
                found.setdefault(model, []).append(file)
    return {model: tuple(sorted(files, key=_place)) for model, files in found.items()}


def signatures(models: Iterable[str]) -> dict[str, int]:
    """For each of `models` a number that stays the same while nothing known beside it changes.

    0 where nothing lies beside it. It holds for one version of Python; another reads all once more.
    """
    found: dict[str, int] = {}
    for folder, own in _by_folder(models).items():
        found.update(dict.fromkeys(own.values(), 0))
        stems = _stems(own)
        # Then the stem of any file beside a model ends at the first dot.
        plain = not any("." in stem for stem in stems)
        for entry in _listed(folder):
            stem, _, rest = entry.name.partition(".")
            place = _PLACES.get(rest) if plain else None
            if place is None or stem not in stems:
                split = None if entry.name in own else _split(entry.name, stems)
                if split is None:
                    continue
                stem, place = split[0], _ENDINGS[split[1]]
            value = _signature(entry, place)
            for model in stems[stem]:
                found[model] ^= value
    return found


def _signature(entry: os.DirEntry[str], place: int) -> int:
    """What tells a file from what it was; 0 for what is none. Of a picture nothing but its name is read."""
    try:
        if place >= len(RECORDS):
            return crc32(os.fsencode(entry.name)) if entry.is_file() else 0
        stat = entry.stat()
    except OSError:
        return 0
    return hash((place, stat.st_size, stat.st_mtime_ns)) if S_ISREG(stat.st_mode) else 0


def _by_folder(models: Iterable[str]) -> dict[str, dict[str, str]]:
    """Models by name, by folder."""
    folders: dict[str, dict[str, str]] = {}
    for model in models:
        folder, _, name = model.rpartition(os.sep)
        folders.setdefault(folder or os.sep, {})[name] = model
    return folders


def _known_files(
    folder: str, own: Mapping[str, str]
) -> Iterator[tuple[os.DirEntry[str], str, os.stat_result, list[str]]]:
    """The known files of a folder: entry, ending, stat, and the models that they lie beside."""
    stems = _stems(own)
    for entry in _listed(folder):
        split = None if entry.name in own else _split(entry.name, stems)
        stat = _stat(entry) if split else None
        if split and stat and S_ISREG(stat.st_mode):
            yield entry, split[1], stat, stems[split[0]]


def _stems(own: Mapping[str, str]) -> dict[str, list[str]]:
    """Models by stem, which may be that of two: `ink.safetensors` and `ink.sft`."""
    stems: dict[str, list[str]] = {}
    for name, model in own.items():
        stems.setdefault(name.rpartition(".")[0] or name, []).append(model)
    return stems


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except OSError:
        return []


def _split(name: str, stems: Container[str]) -> tuple[str, str] | None:
    """The longest of `stems` that `name` is a known file of, and its ending."""
    place = name.rfind(".")
    while place > 0:
        stem = name[:place]
        if stem in stems and (ending := name[place:].lower()) in _ENDINGS:
            return stem, ending
        place = name.rfind(".", 0, place)
    return None


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _place(file: Beside) -> tuple[int, str]:
    return (_ENDINGS[file.ending], file.path)
