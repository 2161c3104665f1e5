"""One way of rendering, timed in a process of its own, so that neither's memory or cache is another's.

    python -m bench.preview_runs WAY REQUEST

REQUEST is a `Request` as JSON; the last line on stdout is a `Result` as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "ink portrait, a red circle on a green field"
SHEET = 4


@dataclass(frozen=True)
class Request:
    """What every way does: the same files, size, steps and strengths."""

    folder: str
    base: str
    components: str
    whole: str
    adapters: list[str]
    device: str
    size: int
    steps: int
    changes: int


@dataclass(frozen=True)
class Result:
    """Seconds: from the start of the process to the first picture; of each change of strengths and each
    picture after it; and of a sheet of `cells` pictures. `memory` is the GPU's peak in bytes."""

    first: float
    changes: list[float]
    pictures: list[float]
    sheet: float
    cells: int
    memory: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Opened:
    """A loaded pipeline: give it strengths, ask it for a picture."""

    set_strengths: Callable[[Sequence[float]], None]
    picture: Callable[[int], Image]
    notes: list[str]


def run_way(way: str, request: Request, *, limit: float | None = None) -> Result:
    """Time `way` in a process of its own. Raises `RuntimeError` with its last words when it fails."""
    words = [sys.executable, "-m", "bench.preview_runs", way, json.dumps(asdict(request))]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=ROOT, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it took longer than {limit:.0f} s") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def picture_of(way: str, request: Request) -> Path:
    """Where the first picture of `way` lies."""
    return Path(request.folder) / f"first {way}.png"


def main(arguments: Sequence[str]) -> None:
    """Do what `run_way` asks for."""
    way, text = arguments
    # PEFT warns about every adapter after the first.
    warnings.simplefilter("ignore")
    request = Request(**json.loads(text))
    print(json.dumps(asdict(_measure(way, request))))


def _measure(way: str, request: Request) -> Result:
    started = time.perf_counter()
    opened = WAYS[way](request)
    count = len(request.adapters)
    opened.set_strengths(_strengths(count, 0))
    first_picture = opened.picture(0)
    first = time.perf_counter() - started
    first_picture.save(picture_of(way, request))
    changes, pictures = [], []
    for number in range(1, request.changes + 1):
        changes.append(_timed(request, lambda n=number: opened.set_strengths(_strengths(count, n))))  # type: ignore[misc]
        pictures.append(_timed(request, lambda n=number: opened.picture(n)))  # type: ignore[misc]

    def sheet() -> None:
        for row in range(SHEET):
            opened.set_strengths(_strengths(count, row))
            for seed in range(SHEET):
                opened.picture(seed)

    seconds = _timed(request, sheet)
    return Result(first, changes, pictures, seconds, SHEET * SHEET, _peak(request), opened.notes)


def _strengths(count: int, turn: int) -> list[float]:
    """Other strengths at every turn, all of them other than 0."""
    return [0.3 + 0.1 * ((turn + index) % 5) for index in range(count)]


def _timed(request: Request, work: Callable[[], object]) -> float:
    _wait(request)
    started = time.perf_counter()
    work()
    _wait(request)
    return time.perf_counter() - started


def _wait(request: Request) -> None:
    import torch

    if request.device.startswith("cuda"):
        torch.cuda.synchronize()


def _peak(request: Request) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if request.device.startswith("cuda") else 0


def _lorakit(request: Request, *, compiled: bool = False) -> Opened:
    from lorakit.preview.session import open_session
    from lorakit.preview.settings import RenderSettings

    paths = request.adapters
    session = open_session(
        Path(request.base),
        list(zip(paths, _strengths(len(paths), 0), strict=True)),
        components=request.components,
        device=request.device,
        union=paths,
    )
    notes = [session.mode_reason]
    session.renderer.on_notice = notes.append
    if compiled:
        session.renderer.compile()

    def picture(seed: int) -> Image:
        return session.renderer.render(
            RenderSettings(PROMPT, "", request.size, request.size, request.steps, 1.0, seed)
        )

    return Opened(
        lambda strengths: session.restack(list(zip(paths, strengths, strict=True))), picture, notes
    )


def _diffusers(request: Request, *, fused: bool = False) -> Opened:
    """diffusers' Anima pipeline as its documentation has it, adapters through PEFT."""
    import torch

    pipeline: Any = _plain_pipeline(request)
    names = [f"adapter{number}" for number in range(len(request.adapters))]
    for name, path in zip(names, request.adapters, strict=True):
        pipeline.load_lora_weights(path, adapter_name=name)
    is_fused = False

    def set_strengths(strengths: Sequence[float]) -> None:
        nonlocal is_fused
        if is_fused:
            pipeline.unfuse_lora(components=["transformer"])
        pipeline.set_adapters(names, adapter_weights=list(strengths))
        if fused:
            pipeline.fuse_lora(components=["transformer"], adapter_names=names)
            is_fused = True

    def picture(seed: int) -> Image:
        made: Image = pipeline(
            prompt=PROMPT,
            width=request.size,
            height=request.size,
            num_inference_steps=request.steps,
            generator=torch.Generator("cpu").manual_seed(seed),
            output="images",
        )[0]
        return made

    return Opened(set_strengths, picture, [])


def _plain_pipeline(request: Request) -> object:
    from lorakit.preview.torchvision_shim import supply_nearest_resize

    # Without torchvision diffusers' transformer does not run at all.
    supply_nearest_resize()
    import diffusers
    from diffusers.guiders import ClassifierFreeGuidance
    from diffusers.modular_pipelines.anima import AnimaAutoBlocks
    from transformers import Qwen2Tokenizer, Qwen3Model, T5TokenizerFast
    from transformers.utils import logging

    from lorakit.preview.devices import conditioning_dtype, transformer_dtype, vae_dtype

    diffusers.utils.logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    parts, whole = Path(request.components), Path(request.whole)
    wide, device = conditioning_dtype(), request.device

    def load(kind: Any, path: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401
        return kind.from_pretrained(path, torch_dtype=dtype).to(device).requires_grad_(False)

    blocks = AnimaAutoBlocks()
    _hide_bars(blocks)
    pipeline = blocks.init_pipeline()
    encoder = Qwen3Model.from_pretrained(parts / "text_encoder", dtype=wide)
    pipeline.update_components(
        text_encoder=encoder.to(device).requires_grad_(False),
        tokenizer=Qwen2Tokenizer.from_pretrained(parts / "tokenizer"),
        t5_tokenizer=T5TokenizerFast.from_pretrained(parts / "t5_tokenizer"),
        vae=load(diffusers.AutoencoderKLQwenImage, parts / "vae", vae_dtype(device)),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(parts / "scheduler"),
        transformer=load(
            diffusers.CosmosTransformer3DModel, whole / "transformer", transformer_dtype(device)
        ),
        text_conditioner=load(diffusers.AnimaTextConditioner, whole / "text_conditioner", wide),
        guider=ClassifierFreeGuidance(guidance_scale=1.0),
    )
    return pipeline


def _hide_bars(blocks: Any) -> None:  # noqa: ANN401
    for block in blocks.sub_blocks.values():
        if hasattr(block, "set_progress_bar_config"):
            block.set_progress_bar_config(disable=True)
        _hide_bars(block)


WAYS: dict[str, Callable[[Request], Opened]] = {
    "lorakit": _lorakit,
    "lorakit compiled": lambda request: _lorakit(request, compiled=True),
    "diffusers PEFT": _diffusers,
    "diffusers fused": lambda request: _diffusers(request, fused=True),
}

if __name__ == "__main__":
    main(sys.argv[1:])
