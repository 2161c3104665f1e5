"""Rendering pictures through diffusers' modular Anima pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lorakit.errors import LorakitError
from lorakit.formats.anima import original_tensor_name
from lorakit.preview.devices import transformer_dtype
from lorakit.preview.models import ADAPTER_PREFIX, build_text_conditioner, build_transformer
from lorakit.preview.quiet import quiet_libraries
from lorakit.preview.torchvision_shim import supply_nearest_resize

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.guiders import ClassifierFreeGuidance
    from diffusers.modular_pipelines import ModularPipelineBlocks
    from diffusers.modular_pipelines.anima import AnimaModularPipeline
    from PIL.Image import Image

    from lorakit.preview.components import Components
    from lorakit.preview.settings import RenderSettings

OnStep = Callable[[int, int], None]
BeforeStep = Callable[[int], None]


class Renderer:
    """Holds a loaded model; `render` makes one picture of it at a time.

    `before_step` is called with the number of each step, from 0, before that step is computed; the
    first call comes before the prompt is read. It may change the tensors of `live_tensors` in place.
    """

    def __init__(self, pipeline: AnimaModularPipeline, scheduler_config: Mapping[str, Any]) -> None:
        self._pipeline = pipeline
        self._scheduler_config = scheduler_config
        self.before_step: BeforeStep = lambda step: None

    @classmethod
    def open(
        cls, weights: Mapping[str, torch.Tensor], components: Components, *, device: str
    ) -> Renderer:
        """Build the pipeline around `weights`.

        Args:
            weights: of the transformer and its text adapter, by original Anima names without a
                checkpoint prefix. Tensors that already have the right dtype and device are used
                as they are, so changing them in place changes the next picture.
            components: from `load_components`, on the same device.
            device: "cpu", "cuda", "cuda:N" or "mps".

        Raises:
            BadFile: a tensor is missing, unknown or of the wrong shape.
            MissingComponent: the checkpoint has no text adapter.
            LorakitError: the device has too little memory.
        """
        supply_nearest_resize()
        with quiet_libraries(), _memory():
            transformer = build_transformer(weights, device=device, dtype=transformer_dtype(device))
            conditioner = build_text_conditioner(
                weights, min_sequence_length=components.min_sequence_length, device=device
            )
            from diffusers.modular_pipelines.anima import AnimaAutoBlocks

            blocks = AnimaAutoBlocks()
            _hide_progress_bars(blocks)
            pipeline = blocks.init_pipeline()
            pipeline.update_components(
                transformer=transformer,
                text_conditioner=conditioner,
                text_encoder=components.text_encoder,
                tokenizer=components.tokenizer,
                t5_tokenizer=components.t5_tokenizer,
                vae=components.vae,
                scheduler=components.scheduler,
            )
        return cls(pipeline, components.scheduler.config)

    def live_tensors(self) -> dict[str, torch.Tensor]:
        """The parameters of the transformer and its text adapter, by canonical names."""
        transformer = self._pipeline.transformer.state_dict()
        conditioner = self._pipeline.text_conditioner.state_dict()
        return {
            **{original_tensor_name(key): tensor for key, tensor in transformer.items()},
            **{ADAPTER_PREFIX + key: tensor for key, tensor in conditioner.items()},
        }

    def render(self, settings: RenderSettings, on_step: OnStep | None = None) -> Image:
        """Make one picture.

        The noise is drawn on the CPU, so a seed means the same picture on every device, up to
        rounding.

        Args:
            settings: what to render.
            on_step: called after each step with the number of steps done and of all steps.

        Returns:
            An RGB image of `settings.width` × `settings.height`.

        Raises:
            LorakitError: the picture came out as NaN or infinity, or memory ran out.
        """
        with quiet_libraries(), _memory():
            self.before_step(0)
            self._pipeline.update_components(
                guider=_guider(settings.cfg), scheduler=self._scheduler(settings, on_step)
            )
            made = self._pipeline(
                prompt=settings.prompt,
                negative_prompt=settings.negative_prompt,
                height=settings.height,
                width=settings.width,
                num_inference_steps=settings.steps,
                generator=torch.Generator("cpu").manual_seed(settings.seed),
                output_type="pt",
                output=["latents", "images"],
            )
        # The decoder clamps infinity away, so the latents have to be looked at as well.
        _require_finite(made["latents"], made["images"])
        return _to_image(made["images"][0])

    def _scheduler(
        self, settings: RenderSettings, on_step: OnStep | None
    ) -> FlowMatchEulerDiscreteScheduler:
        from diffusers import FlowMatchEulerDiscreteScheduler

        # The Anima pipeline passes no size to shift by, so a dynamic shift could only fail.
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(
            self._scheduler_config, shift=settings.shift, use_dynamic_shifting=False
        )
        _watch_steps(scheduler, settings.steps, self.before_step, on_step)
        return scheduler


def _hide_progress_bars(blocks: ModularPipelineBlocks) -> None:
    # The pipeline's own switch reaches its outermost blocks; the denoising loop lies deeper.
    for block in blocks.sub_blocks.values():
        if hasattr(block, "set_progress_bar_config"):
            block.set_progress_bar_config(disable=True)
        _hide_progress_bars(block)


def _guider(cfg: float) -> ClassifierFreeGuidance:
    from diffusers.guiders import ClassifierFreeGuidance

    # At a scale of 1 this guider asks for the conditional pass alone.
    return ClassifierFreeGuidance(guidance_scale=cfg)


def _watch_steps(
    scheduler: FlowMatchEulerDiscreteScheduler,
    total: int,
    before_step: BeforeStep,
    on_step: OnStep | None,
) -> None:
    # The modular pipeline has no callback. The scheduler steps once a step whatever the guidance.
    advance = scheduler.step
    done = 0

    def step(*args: object, **kwargs: object) -> object:
        nonlocal done
        result = advance(*args, **kwargs)
        done += 1
        if on_step is not None:
            on_step(done, total)
        if done < total:
            before_step(done)
        return result

    scheduler.step = step


def _require_finite(latents: torch.Tensor, images: torch.Tensor) -> None:
    if bool(torch.isfinite(latents).all()) and bool(torch.isfinite(images).all()):
        return
    raise LorakitError(
        "The picture came out as NaN or infinity, so there is nothing to show.",
        hint="Look at the strengths in the stack: one is probably far too high, or an adapter "
        "is damaged. Rendering without the stack tells whether the base is sound.",
    )


def _to_image(image: torch.Tensor) -> Image:
    """`image` is [3, height, width] from 0 to 1."""
    from PIL.Image import fromarray

    pixels = (image.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise LorakitError(
            f"The device ran out of memory: {error}",
            hint="Render a smaller picture, close what else uses the GPU, or use --device cpu.",
        ) from error
