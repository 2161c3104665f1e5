"""From a base file and a stack to a renderer: the merged weights live in memory only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorakit.fusion.engine import fuse
from lorakit.fusion.plan import FusionPlan
from lorakit.preview.components import load_components
from lorakit.preview.pipeline import Renderer

Stage = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """A renderer of one fused stack, with the plan that was carried out and the device it uses."""

    renderer: Renderer
    plan: FusionPlan
    device: str


def open_session(
    base: Path,
    entries: Sequence[tuple[str | Path, float]],
    *,
    components: str | None,
    device: str,
    on_stage: Stage = lambda stage: None,
) -> Session:
    """Fuse `entries` (adapter file, strength) onto `base` and load what a picture needs.

    `components` is a diffusers folder, ComfyUI's split files or a Hugging Face repository; None means
    Anima's own. `device` is one that `choose_device` gave. `on_stage` is told what is being done.

    Raises `MissingComponent` before the base is read, `BadFile` or `NotFusable` for files that do not
    fit.
    """
    on_stage("loading text encoder and VAE")
    parts = load_components(components, device=device)
    on_stage("fusing the stack")
    fused = fuse(base, entries, device=device)
    on_stage("building the pipeline")
    renderer = Renderer.open(fused.by_canonical_name(), parts, device=device)
    return Session(renderer, fused.plan, device)
