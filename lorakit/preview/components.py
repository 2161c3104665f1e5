"""Loading the parts of a preview that are not in the checkpoint, from any of their sources.

`load_components` waits for them. `loading_components` begins and gives a handle at once, so that the base
and the stack can be read meanwhile:

    with loading_components(source, device=device) as loading:  # raises MissingComponent
        weights = fuse(base, stack, device=device)
        components = loading.result()                           # raises BadFile or LorakitError
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lorakit.errors import BadFile, LorakitError
from lorakit.preview.component_paths import (
    DEFAULT_COMPONENTS,
    ComponentPaths,
    find_components,
)
from lorakit.preview.memory import is_out_of_memory

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast

__all__ = [
    "DEFAULT_COMPONENTS",
    "ComponentPaths",
    "Components",
    "find_components",
    "load_components",
    "loading_components",
]

T = TypeVar("T")

DEFAULT_SHIFT = 3.0
DEFAULT_SEQUENCE_LENGTH = 512


@dataclass(frozen=True)
class Components:
    """The loaded parts, as diffusers' Anima pipeline takes them.

    The text encoder is in float32; `min_sequence_length` is what the text conditioner pads to.
    """

    text_encoder: Qwen3Model
    tokenizer: Qwen2Tokenizer
    t5_tokenizer: T5TokenizerFast
    vae: AutoencoderKLQwenImage
    scheduler: FlowMatchEulerDiscreteScheduler
    min_sequence_length: int


def load_components(source: str | Path | None, *, device: str) -> Components:
    """Load every part onto `device`; see `find_components` for what `source` may be.

    The text encoder or the VAE stays in main memory where the device has no room for it; the renderer
    then moves it to and fro.

    Raises:
        MissingComponent: parts are missing; all are named at once, with the command to get them.
        BadFile: a part is there and cannot be read, or is not what it should be.
        LorakitError: there is too little memory.
    """
    return _load(find_components(source), device)


@contextmanager
def loading_components(source: str | Path | None, *, device: str) -> Iterator[Future[Components]]:
    """Begin what `load_components` does, in a thread, for the length of a block.

    The thread builds models, so nothing else may do so until the result is there: what switches off
    the initial weights of a model being built is global to the process. An error in the block therefore
    waits for the thread; Ctrl-C does not.

    Yields:
        A future. Its `result()` waits, and raises what `load_components` would but MissingComponent.

    Raises:
        MissingComponent: parts are missing; all are named at once, with the command to get them.
    """
    paths = find_components(source)
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lorakit-components")
    loading = worker.submit(_load, paths, device)
    worker.shutdown(wait=False)
    try:
        yield loading
    except Exception:
        wait([loading])
        raise


def _load(paths: ComponentPaths, device: str) -> Components:
    from lorakit.preview.quiet import quiet_libraries
    from lorakit.preview.torchvision_shim import supply_nearest_resize

    supply_nearest_resize()
    with quiet_libraries():
        return Components(
            text_encoder=_text_encoder(paths.text_encoder, device),
            tokenizer=_tokenizer(paths.tokenizer),
            t5_tokenizer=_t5_tokenizer(paths.t5_tokenizer),
            vae=_vae(paths.vae, device),
            scheduler=_scheduler(paths.scheduler),
            min_sequence_length=_sequence_length(paths.text_conditioner),
        )


def _text_encoder(path: Path, device: str) -> Qwen3Model:
    from transformers import Qwen3Model

    from lorakit.preview.devices import conditioning_dtype
    from lorakit.preview.split_files import load_split_text_encoder

    def load(place: str) -> Qwen3Model:
        if path.is_file():
            return load_split_text_encoder(path, device=place)
        model = Qwen3Model.from_pretrained(path, dtype=conditioning_dtype(), local_files_only=True)
        return model.to(place).requires_grad_(False).eval()

    with _reading("text encoder", path):
        return _where_there_is_room(load, device)


def _tokenizer(path: Path) -> Qwen2Tokenizer:
    from transformers import Qwen2Tokenizer

    with _reading("Qwen tokenizer", path):
        return Qwen2Tokenizer.from_pretrained(path, local_files_only=True)


def _t5_tokenizer(path: Path) -> T5TokenizerFast:
    from transformers import T5TokenizerFast

    with _reading("T5 tokenizer", path):
        return T5TokenizerFast.from_pretrained(path, local_files_only=True)


def _vae(path: Path, device: str) -> AutoencoderKLQwenImage:
    from diffusers import AutoencoderKLQwenImage

    from lorakit.preview.devices import vae_dtype
    from lorakit.preview.split_files import load_split_vae

    dtype = vae_dtype(device)

    def load(place: str) -> AutoencoderKLQwenImage:
        if path.is_file():
            return load_split_vae(path, device=place, dtype=dtype)
        model = AutoencoderKLQwenImage.from_pretrained(
            path, torch_dtype=dtype, local_files_only=True
        )
        return model.to(place).requires_grad_(False).eval()

    with _reading("VAE", path):
        return _where_there_is_room(load, device)


def _scheduler(path: Path | None) -> FlowMatchEulerDiscreteScheduler:
    from diffusers import FlowMatchEulerDiscreteScheduler

    if path is None:
        return FlowMatchEulerDiscreteScheduler(shift=DEFAULT_SHIFT)
    with _reading("scheduler", path):
        return FlowMatchEulerDiscreteScheduler.from_pretrained(path, local_files_only=True)


def _sequence_length(path: Path | None) -> int:
    if path is None:
        return DEFAULT_SEQUENCE_LENGTH
    with _reading("text conditioner's configuration", path):
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        return int(config.get("min_sequence_length", DEFAULT_SEQUENCE_LENGTH))


def _where_there_is_room(load: Callable[[str], T], device: str) -> T:
    """What `load` makes on `device`, or in main memory where the device has no room."""
    if device == "cpu":
        return load(device)
    try:
        return load(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, so that the error's frames no longer hold the half of a model.
    return load("cpu")


@contextmanager
def _reading(part: str, path: Path) -> Iterator[None]:
    try:
        yield
    except LorakitError:
        raise
    # Whatever the libraries raise at a damaged file, it means the same to the person.
    except Exception as error:
        if is_out_of_memory(error):
            raise LorakitError(
                f"There is too little memory for the {part} in '{path}'.",
                hint="Close other programs that use much memory.",
            ) from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadFile(
            f"The {part} in '{path}' cannot be loaded: {reason}",
            hint="Fetch it again; the file or folder is damaged or of another model.",
        ) from error
