"""From a base file and a stack to a renderer: the merged weights live in memory only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorakit.fusion.base import TEXT_ENCODER, open_base
from lorakit.fusion.engine import fuse
from lorakit.fusion.plan import FusionPlan
from lorakit.preview.components import load_components
from lorakit.preview.pipeline import Renderer
from lorakit.preview.scheduling import ScheduledWeights
from lorakit.strengths import Strength, as_strength

Stage = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """A renderer of one fused stack, with the plan that was carried out and the device it uses."""

    renderer: Renderer
    plan: FusionPlan
    device: str


def open_session(
    base: Path,
    entries: Sequence[tuple[str | Path, float | Strength]],
    *,
    components: str | None,
    device: str,
    on_stage: Stage = lambda stage: None,
) -> Session:
    """Fuse `entries` (adapter file, strength) onto `base` and load what a picture needs.

    Strengths that depend on the denoising step are re-fused between the steps of each picture.
    `components` is a diffusers folder, ComfyUI's split files or a Hugging Face repository; None means
    Anima's own. `device` is one that `choose_device` gave. `on_stage` is told what is being done.

    Raises `MissingComponent` before the base is read, `BadFile` or `NotFusable` for files that do not
    fit.
    """
    on_stage("loading text encoder and VAE")
    parts = load_components(components, device=device)
    on_stage("fusing the stack")
    strengths = [(path, as_strength(strength)) for path, strength in entries]
    # The text encoder takes part in float32, as the conditioning is computed.
    encoder = parts.text_encoder.state_dict()
    joined = open_base(base).with_text_encoder(encoder)
    if any(strength.is_scheduled for _, strength in strengths):
        scheduled = ScheduledWeights(joined, strengths, device=device)
        plan, weights = scheduled.plan, scheduled.at_first_step()
    else:
        scheduled, fused = None, fuse(joined, strengths, device=device)
        plan, weights = fused.plan, fused.by_canonical_name()
    own = {f"{TEXT_ENCODER}{name}": name for name in encoder}
    parts.text_encoder.load_state_dict({own[key]: weights.pop(key) for key in own})
    on_stage("building the pipeline")
    renderer = Renderer.open(weights, parts, device=device)
    if scheduled is not None:
        live = renderer.live_tensors()
        renderer.before_step = partial(scheduled.write, live=live)
    return Session(renderer, plan, device)
