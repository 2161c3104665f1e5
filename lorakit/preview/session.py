"""From a base file and a stack to a renderer: the merged weights live in memory only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.loading import load_adapter
from lorakit.errors import BadUsage
from lorakit.formats import anima
from lorakit.fusion.base import TEXT_ENCODER, BaseTensors, open_base
from lorakit.fusion.plan import FusionPlan
from lorakit.fusion.restacking import (
    Engine,
    LiveStack,
    Stacked,
    StackWeights,
    hold_stacks,
    plan_stack,
)
from lorakit.fusion.steps import plan_at_step, text_key
from lorakit.fusion.unfused import UnfusedSteps, bytes_to_rewrite, free_bytes, without_steps
from lorakit.preview.components import loading_components
from lorakit.preview.devices import transformer_dtype
from lorakit.preview.pipeline import OnNotice, Renderer
from lorakit.strengths import Strength, as_strength

if TYPE_CHECKING:
    from transformers import Qwen3Model

Stage = Callable[[str], None]
Entries = Sequence[tuple[str | Path, float | Strength]]


class Session:
    """A renderer whose stack can be changed in place; nothing is loaded or compiled again.

    `plan` is the stack that was carried out last; `text_key` is another word when the weights that read
    the prompt are others, so that embeddings of a prompt are kept as long as it stays the same;
    `mode_reason` says in a sentence how the weights are held, and why.
    """

    def __init__(
        self,
        renderer: Renderer,
        base: BaseTensors,
        weights: StackWeights,
        library: Mapping[str, Adapter],
        encoder: Qwen3Model,
        *,
        device: str,
        memory_limit: int | None,
    ) -> None:
        """Take over what `open_session` has made; `restack` says which stack is in it."""
        self.renderer = renderer
        self.device = device
        self._memory_limit = memory_limit
        self._beside: UnfusedSteps | None = None
        self._base = base
        self._weights = weights
        self._library = library
        self._encoder = encoder

    def restack(self, entries: Entries) -> None:
        """Make the next pictures those of `entries`, any of the files given at opening, in any order.

        Pictures are those of a session opened with `entries`: to the byte, or, where the live engine
        holds the weights, to the last rounding of a weight in bfloat16. Only weights that differ are
        written.

        Raises `BadUsage` for a file that was not given, and as `open_session` does for strengths; the
        stack then stays as it was. An error while writing leaves a mixture, which the next call mends.
        """
        stack = pick_adapters(self._library, entries)
        plan = plan_stack(self._base, stack)
        reason = self._too_small(plan)
        beside = UnfusedSteps(self.renderer.transformer, plan, stack) if reason else None
        try:
            self._write(stack, without_steps(plan) if beside else plan_at_step(plan, 0))
        except BaseException:
            if beside is not None:
                beside.remove()
            raise
        self._adopt(stack, plan, beside)
        self.mode_reason = f"{self._weights.reason} {reason}".strip()

    def _adopt(self, stack: Stacked, plan: FusionPlan, beside: UnfusedSteps | None) -> None:
        if self._beside is not None:
            self._beside.remove()
        self._beside = beside
        self.plan = plan
        self.text_key = text_key(plan, [adapter for adapter, _ in stack])
        self.renderer.text_key = self.text_key
        if beside is not None:
            self.renderer.before_step = beside.at
        elif any(strength.is_scheduled for _, strength in stack):
            self.renderer.before_step = lambda step: self._write(stack, plan_at_step(plan, step))
        else:
            self.renderer.before_step = lambda step: None

    def _too_small(self, plan: FusionPlan) -> str:
        """Why strengths by step cannot be fused between the steps; empty where they can."""
        limit = self._memory_limit
        if limit is None:
            limit = free_bytes(torch.device(self.device))
        needed = bytes_to_rewrite(self._base, plan)
        if isinstance(self._weights, LiveStack) or limit is None or needed <= limit:
            return ""
        return (
            f"Strengths by step run beside the weights: fusing one again takes {needed / 1e6:.0f} MB of "
            f"{self.device}, and {limit / 1e6:.0f} MB may be used."
        )

    def _write(self, stack: Stacked, plan: FusionPlan) -> None:
        """Bring the models to the weights of `plan`, in place."""
        held = {**self.renderer.live_tensors(), **encoder_tensors(self._encoder)}
        with torch.no_grad():
            for name, tensor in self._weights.change(plan, stack):
                # A model on the live engine's device holds the engine's own tensors.
                if name in held and held[name].data_ptr() != tensor.data_ptr():
                    held[name].copy_(tensor)


def open_session(
    base: Path,
    entries: Entries,
    *,
    components: str | None,
    device: str,
    on_stage: Stage = lambda stage: None,
    on_notice: OnNotice = lambda sentence: None,
    union: Sequence[str | Path] | None = None,
    engine: Engine | None = None,
    memory_limit: int | None = None,
) -> Session:
    """Fuse `entries` (adapter file, strength) onto `base` and load what a picture needs.

    Strengths that depend on the denoising step are re-fused between the steps of each picture.

    Args:
        base: a checkpoint file.
        entries: the first stack.
        components: a diffusers folder, ComfyUI's split files or a Hugging Face repository; None means
            Anima's own.
        device: one that `choose_device` gave.
        on_stage: is told what is being done.
        on_notice: is told in a sentence what is lowered when memory runs out, now and later.
        union: the files that later stacks may use besides those of `entries`, for `Session.restack`.
            None, for one stack, spares the memory that changing stacks fast would take.
        engine: how weights are changed. None takes "live" for a union or for strengths by step on CUDA
            where they fit, else "rewrite".
        memory_limit: bytes of device memory that changing weights may take; None is what is free. The
            live engine leaves a reserve of it.

    The other parts are loaded beside the base and the stack. Raises `MissingComponent` before the base
    is read, `BadFile` or `NotFusable` for files that do not fit.
    """
    with loading_components(components, device=device) as loading:
        on_stage("fusing the stack")
        paths = [*(path for path, _ in entries), *(union or ())]
        library = {str(path): load_adapter(path) for path in paths}
        stack = pick_adapters(library, entries)
        opened = open_base(base)
        if any(map(_patches_text_encoder, library.values())):
            # It takes part in float32, as the conditioning is computed.
            opened = opened.with_text_encoder(loading.result().text_encoder.state_dict())
        plan = plan_stack(opened, stack)
        changes = union is not None or any(strength.is_scheduled for _, strength in stack)
        usual: Engine = "live" if changes and device.startswith("cuda") else "rewrite"
        weights = hold_stacks(
            opened,
            tuple(library.values()),
            device=device,
            held=transformer_dtype(device),
            engine=engine or usual,
            memory_limit=memory_limit,
        )
        first = weights.start(plan_at_step(plan, 0), stack)
        on_stage("loading text encoder and VAE")
        parts = loading.result()
    for name, tensor in encoder_tensors(parts.text_encoder).items():
        if name in first:
            tensor.copy_(first.pop(name))
    on_stage("building the pipeline")
    renderer = Renderer.open(first, parts, device=device, on_notice=on_notice)
    session = Session(
        renderer,
        opened,
        weights,
        library,
        parts.text_encoder,
        device=device,
        memory_limit=memory_limit,
    )
    session.restack(entries)
    return session


def _patches_text_encoder(adapter: Adapter) -> bool:
    return any(anima.component_of(name) == "text_encoder" for name in adapter.modules)


def pick_adapters(library: Mapping[str, Adapter], entries: Entries) -> Stacked:
    """The adapters of `entries` out of those that were loaded. Raises `BadUsage` for another file."""
    for path, _ in entries:
        if str(path) not in library:
            raise BadUsage(
                f"{path} is none of the adapter files that this session was opened for.",
                hint="Name every file that a later stack uses when the session is opened.",
            )
    return [(library[str(path)], as_strength(strength)) for path, strength in entries]


def encoder_tensors(encoder: Qwen3Model) -> dict[str, torch.Tensor]:
    """The text encoder's parameters by canonical names, sharing their memory."""
    return {f"{TEXT_ENCODER}{name}": tensor for name, tensor in encoder.state_dict().items()}
