"""Finding the parts of a preview that are not in the checkpoint.

Light: neither torch nor diffusers is imported, so that `base add --components` can check early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import MissingComponent, Unreachable
from lorakit.network.offline import check_online
from lorakit.paths import expanded

DEFAULT_COMPONENTS = "circlestone-labs/Anima-Base-v1.0-Diffusers"


@dataclass(frozen=True)
class ComponentPaths:
    """Where each part lies: a diffusers subfolder, or for the first two a single safetensors file.

    Without a scheduler the flow shift 3 is used; without a conditioner configuration, 512 tokens.
    """

    text_encoder: Path
    vae: Path
    tokenizer: Path
    t5_tokenizer: Path
    scheduler: Path | None
    text_conditioner: Path | None


@dataclass(frozen=True)
class _Part:
    """One part: its diffusers subfolder, the files of which one set must be there, and where
    ComfyUI keeps it (folder, file names by preference)."""

    name: str
    shown: str
    needs: tuple[tuple[str, ...], ...]
    split_folder: str = ""
    split_names: tuple[str, ...] = ()


_WEIGHTS = (("config.json", "*.safetensors"),)
_PARTS = (
    _Part(
        "text_encoder",
        "text encoder (Qwen3 0.6B Base)",
        _WEIGHTS,
        "text_encoders",
        ("qwen_3_06b_base.safetensors", "*qwen*3*06b*.safetensors", "*.safetensors"),
    ),
    _Part(
        "vae",
        "VAE (Qwen-Image)",
        _WEIGHTS,
        "vae",
        ("qwen_image_vae.safetensors", "*qwen*image*vae*.safetensors", "*.safetensors"),
    ),
    _Part("tokenizer", "Qwen tokenizer", (("tokenizer.json",), ("vocab.json", "merges.txt"))),
    _Part("t5_tokenizer", "T5 tokenizer", (("tokenizer.json",), ("spiece.model",))),
)
_TOKENIZERS = _PARTS[2:]
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_components(source: str | Path | None) -> ComponentPaths:
    """Where the text encoder, VAE, tokenizers and scheduler lie.

    Args:
        source: a folder in diffusers' layout or with ComfyUI's split files, a Hugging Face
            repository OWNER/NAME (fetched into its cache unless HF_HUB_OFFLINE=1), or None for
            `DEFAULT_COMPONENTS`. Where ComfyUI's files come without tokenizers, those of the
            default repository are used.

    Raises:
        MissingComponent: one or more parts are not there; the message names them all, and the
            hint is the command that gets them.
    """
    source = DEFAULT_COMPONENTS if source is None else source
    folder = expanded(source)
    if folder.is_dir():
        return _from_folder(folder)
    if isinstance(source, str) and _REPOSITORY.fullmatch(source):
        return _from_repository(source)
    state = "is a file" if folder.exists() else "does not exist"
    raise MissingComponent(
        f"The folder of components '{source}' {state}.",
        hint="Name a folder in diffusers' layout, ComfyUI's models folder, or a Hugging Face "
        f"repository OWNER/NAME such as {DEFAULT_COMPONENTS}.",
    )


def _from_folder(folder: Path) -> ComponentPaths:
    found = {part.name: _locate(folder, part) for part in _PARTS}
    split = any(path is not None and path.is_file() for path in found.values())
    trouble = ""
    if split and any(found[part.name] is None for part in _TOKENIZERS):
        snapshot, trouble = _snapshot(DEFAULT_COMPONENTS, _TOKENIZERS, ())
        for part in _TOKENIZERS:
            found[part.name] = found[part.name] or (snapshot and _locate(snapshot, part))
    return _collect(found, folder, wanted=DEFAULT_COMPONENTS, target=folder, trouble=trouble)


def _from_repository(repository: str) -> ComponentPaths:
    snapshot, trouble = _snapshot(repository, _PARTS, ("scheduler", "text_conditioner"))
    found = {part.name: snapshot and _locate(snapshot, part) for part in _PARTS}
    return _collect(found, snapshot, wanted=repository, target=None, trouble=trouble)


def _collect(
    found: dict[str, Path | None],
    root: Path | None,
    *,
    wanted: str,
    target: Path | None,
    trouble: str,
) -> ComponentPaths:
    missing = [part for part in _PARTS if found[part.name] is None]
    if missing:
        raise _missing(missing, wanted=wanted, target=target, trouble=trouble)
    paths = {name: path for name, path in found.items() if path is not None}
    return ComponentPaths(
        **paths,
        scheduler=_optional(root, "scheduler", "scheduler_config.json"),
        text_conditioner=_optional(root, "text_conditioner", "config.json"),
    )


def _optional(root: Path | None, folder: str, file: str) -> Path | None:
    return root / folder if root is not None and (root / folder / file).is_file() else None


def _locate(folder: Path, part: _Part) -> Path | None:
    inner = folder / part.name
    for needed in part.needs:
        if all(any(inner.glob(pattern)) for pattern in needed):
            return inner
    for pattern in part.split_names:
        files = sorted(
            file for file in (folder / part.split_folder).glob(pattern) if file.is_file()
        )
        # The last pattern takes any file, but only where there is nothing to confuse it with.
        if files and (len(files) == 1 or pattern != part.split_names[-1]):
            return files[0]
    return None


def _snapshot(
    repository: str, parts: Sequence[_Part], extras: Sequence[str]
) -> tuple[Path | None, str]:
    """The repository's folder in the Hugging Face cache, and why there is none or it is old."""
    from huggingface_hub import snapshot_download

    patterns = [f"{name}/*" for name in (*(part.name for part in parts), *extras)]
    # What the conditioner needs of its folder is the configuration: its weights are in the base.
    patterns = [p.replace("text_conditioner/*", "text_conditioner/config.json") for p in patterns]
    cached, _ = _try(lambda: snapshot_download(repository, local_files_only=True))
    if cached is not None and all(_locate(cached, part) for part in parts):
        return cached, ""
    try:
        check_online(f"Fetching {repository}")
    except Unreachable as error:
        return cached, f"{error.message} {error.hint}"
    fetched, trouble = _try(lambda: snapshot_download(repository, allow_patterns=patterns))
    return fetched or cached, trouble


def _try(get: Callable[[], str]) -> tuple[Path | None, str]:
    try:
        return Path(get()), ""
    # The hub raises errors of its own, of its HTTP library and of the file system; whichever it
    # is, the parts could not be fetched, and the reason goes into our message.
    except Exception as error:
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0]


def _missing(
    parts: Sequence[_Part], *, wanted: str, target: Path | None, trouble: str
) -> MissingComponent:
    names = ", ".join(part.shown for part in parts)
    if target is None:
        from huggingface_hub.constants import HF_HUB_CACHE

        looked = f"the Hugging Face repository {wanted} and its cache in '{HF_HUB_CACHE}'"
    else:
        places = [f"{part.name}/" for part in parts]
        places += [f"{part.split_folder}/*.safetensors" for part in parts if part.split_folder]
        looked = f"'{target}' ({', '.join(dict.fromkeys(places))})"
    patterns = [f"{part.name}/*" for part in parts]
    if len(parts) == len(_PARTS):
        patterns += ["scheduler/*", "text_conditioner/config.json"]
    include = " ".join(f'--include "{pattern}"' for pattern in patterns)
    into = f' --local-dir "{target}"' if target is not None else ""
    lacking = target is None and not trouble
    source = DEFAULT_COMPONENTS if lacking else wanted
    return MissingComponent(
        f"The preview lacks these parts: {names}. Looked in {looked}."
        + (f" Fetching them failed: {trouble}" if trouble else ""),
        hint=f"Get them with: hf download {source} {include}{into}"
        # A repository that was reached and has not got them will not have them the next time either.
        + (f" and render with --components {source}" if lacking else ""),
    )
