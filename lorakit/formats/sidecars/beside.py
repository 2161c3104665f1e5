"""Which files lie beside which models: by their names alone, for many models at once."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from stat import S_ISREG

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
_ENDINGS = frozenset((*PREVIEWS, *RECORDS))


@dataclass(frozen=True, slots=True)
class Beside:
    """A file beside a model's: its path, its ending in lower case, and what tells that it changed."""

    path: str
    ending: str
    size: int
    mtime_ns: int


def files_beside(models: Iterable[str]) -> dict[str, tuple[Beside, ...]]:
    """The known files beside each of `models` (absolute paths), in the order of their endings.

    A model without any is left out. Each folder is listed once; one that cannot be listed is empty.
    """
    folders: dict[str, dict[str, str]] = {}
    for model in models:
        folder, name = os.path.split(model)
        folders.setdefault(folder, {})[name] = model
    found: dict[str, tuple[Beside, ...]] = {}
    for folder, own in folders.items():
        for model, files in _in_folder(folder, own):
            found[model] = tuple(sorted(files, key=_place))
    return found


def signature(files: Iterable[Beside]) -> str:
    """What is the same as long as none of the files changes."""
    return "|".join(f"{file.ending}:{file.size}:{file.mtime_ns}" for file in files)


def _in_folder(folder: str, own: Mapping[str, str]) -> Iterator[tuple[str, list[Beside]]]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (thousands of names, of which few are wanted)
    except OSError:
        return
    # A stem may be that of two models: `ink.safetensors` and `ink.sft`.
    stems: dict[str, list[str]] = {}
    for name, model in own.items():
        stems.setdefault(os.path.splitext(name)[0], []).append(model)  # noqa: PTH122
    found: dict[str, list[Beside]] = {}
    for name in names:
        if name in own:
            continue
        split = _split(name, stems)
        if split is None:
            continue
        stem, ending = split
        file = _look(os.path.join(folder, name), ending)  # noqa: PTH118
        if file is not None:
            for model in stems[stem]:
                found.setdefault(model, []).append(file)
    yield from found.items()


def _split(name: str, stems: Container[str]) -> tuple[str, str] | None:
    """The longest of `stems` that `name` is a known file of, and its ending."""
    place = name.rfind(".")
    while place > 0:
        stem, ending = name[:place], name[place:].lower()
        if stem in stems and ending in _ENDINGS:
            return stem, ending
        place = name.rfind(".", 0, place)
    return None


def _look(path: str, ending: str) -> Beside | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 (asked of thousands)
    except (OSError, ValueError):
        return None
    if not S_ISREG(stat.st_mode):
        return None
    return Beside(path, ending, stat.st_size, stat.st_mtime_ns)


def _place(file: Beside) -> tuple[int, int, str]:
    kind = PREVIEWS if file.ending in PREVIEWS else RECORDS
    return (kind is PREVIEWS, kind.index(file.ending), file.path)
