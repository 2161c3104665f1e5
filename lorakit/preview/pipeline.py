"""Rendering pictures through diffusers' modular Anima pipeline."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lorakit.formats.anima import original_tensor_name
from lorakit.preview.compiling import compile_blocks, compiling_problem, uncompile_blocks
from lorakit.preview.conditioning import USUALLY_KEPT, PromptEncoder
from lorakit.preview.devices import transformer_dtype
from lorakit.preview.memory import MemorySaver, OnNotice
from lorakit.preview.models import ADAPTER_PREFIX, build_text_conditioner, build_transformer
from lorakit.preview.quiet import quiet_libraries
from lorakit.preview.stages import Stages, build_stages
from lorakit.preview.starting_image import read_starting_image
from lorakit.preview.steps import BeforeStep, OnStep, make_scheduler
from lorakit.preview.torchvision_shim import supply_nearest_resize
from lorakit.preview.unsound import require_finite

if TYPE_CHECKING:
    from diffusers import AnimaTextConditioner, CosmosTransformer3DModel
    from diffusers.guiders import ClassifierFreeGuidance
    from PIL.Image import Image

    from lorakit.preview.components import Components
    from lorakit.preview.settings import RenderSettings

__all__ = ["BeforeStep", "OnNotice", "OnStep", "Renderer"]


class Renderer:
    """Holds a loaded model; `render` makes one picture of it at a time.

    `before_step` is called with the number of each step, from 0, before that step is computed, and with 0
    before the prompt is read. It may change the tensors of `live_tensors` in place. `text_key` is set
    to another value by whoever changes the weights that read the prompt: what is remembered of a prompt
    is used again under the same value only.
    """

    def __init__(
        self,
        transformer: CosmosTransformer3DModel,
        text_conditioner: AnimaTextConditioner,
        stages: Stages,
        prompts: PromptEncoder,
        memory: MemorySaver,
        scheduler_config: Mapping[str, Any],
    ) -> None:
        self._transformer = transformer
        self._text_conditioner = text_conditioner
        self._stages = stages
        self._prompts = prompts
        self._memory = memory
        self._scheduler_config = scheduler_config
        self.before_step: BeforeStep = lambda step: None
        self.text_key: Hashable = None
        self._compiled = False

    @classmethod
    def open(
        cls,
        weights: Mapping[str, torch.Tensor],
        components: Components,
        *,
        device: str,
        on_notice: OnNotice = lambda sentence: None,
    ) -> Renderer:
        """Build the pipeline around `weights`.

        Args:
            weights: of the transformer and its text adapter, by original Anima names without a
                checkpoint prefix. Tensors that already have the right dtype and device are used
                as they are, so changing them in place changes the next picture.
            components: from `load_components`, for the same device.
            device: "cpu", "cuda", "cuda:N" or "mps".
            on_notice: is told in a sentence what is lowered when memory runs out; also later, unless
                the attribute of that name is set to something else.

        Raises:
            BadFile: a tensor is missing, unknown or of the wrong shape.
            MissingComponent: the checkpoint has no text adapter.
            LorakitError: the device has too little memory.
        """
        supply_nearest_resize()
        memory = MemorySaver(
            device,
            text_encoder=components.text_encoder,
            vae=components.vae,
            on_notice=on_notice,
        )
        length = components.min_sequence_length

        def build() -> tuple[CosmosTransformer3DModel, AnimaTextConditioner]:
            transformer = build_transformer(weights, device=device, dtype=transformer_dtype(device))
            return transformer, build_text_conditioner(
                weights, min_sequence_length=length, device=device
            )

        with quiet_libraries():
            transformer, conditioner = memory.run("build", build)
            stages = build_stages(transformer, conditioner, components)
            prompts = PromptEncoder(stages.text)
        config = components.scheduler.config
        return cls(transformer, conditioner, stages, prompts, memory, config)

    def keep_prompts(self, count: int) -> None:
        """Remember this many prompts, or the usual 32 if that is more: a sheet reads each but once."""
        self._prompts.kept = max(count, USUALLY_KEPT)

    @property
    def on_notice(self) -> OnNotice:
        """Is told in a sentence what the renderer lowers when memory runs out."""
        return self._memory.on_notice

    @on_notice.setter
    def on_notice(self, on_notice: OnNotice) -> None:
        self._memory.on_notice = on_notice

    @property
    def saving(self) -> tuple[str, ...]:
        """What was lowered to save memory: of "tiled VAE" and "offload"; the first changes pixels."""
        return self._memory.saving

    @property
    def compiled(self) -> bool:
        """Whether pictures come from a compiled transformer, as far as is known before the next."""
        return self._compiled

    def unsound_part(self) -> str | None:
        """The first model whose weights, as they are now, hold NaN or infinity; None without one."""
        parts = {
            "text encoder": self._stages.text.text_encoder,
            "text adapter": self._text_conditioner,
            "transformer": self._transformer,
            "VAE": self._stages.decode.vae,
        }
        for name, part in parts.items():
            if not all(bool(torch.isfinite(tensor).all()) for tensor in part.parameters()):
                return name
        return None

    def compile(self, *, backend: str = "inductor") -> None:
        """Have the transformer compiled by `torch.compile` when the next picture is rendered.

        It pays for many pictures: the first of each size takes up to minutes longer. Changing weights in
        place compiles nothing again. Pixels differ a little from those of a renderer that is not
        compiled. Where the machine cannot compile, `on_notice` is told and pictures come without.
        """
        compile_blocks(self._transformer, backend=backend)
        self._compiled = True

    @property
    def transformer(self) -> CosmosTransformer3DModel:
        """The denoising model, which may be given hooks."""
        return self._transformer

    def live_tensors(self) -> dict[str, torch.Tensor]:
        """The parameters of the transformer and its text adapter, by canonical names."""
        transformer = self._transformer.state_dict()
        conditioner = self._text_conditioner.state_dict()
        return {
            **{original_tensor_name(key): tensor for key, tensor in transformer.items()},
            **{ADAPTER_PREFIX + key: tensor for key, tensor in conditioner.items()},
        }

    def render(self, settings: RenderSettings, on_step: OnStep | None = None) -> Image:
        """Make one picture.

        The noise is drawn on the CPU, so a seed means the same picture on every device, up to
        rounding. Memory that runs out lowers the renderer's settings for good, and the stage it
        struck is done again: steps may then be counted from the first once more.

        Args:
            settings: what to render.
            on_step: called after each step with the number of steps done and of all steps run.

        Returns:
            An RGB image of `settings.width` × `settings.height`.

        Raises:
            UnsoundPicture: numbers came out as NaN or infinity.
            NotFound, BadFile: the starting image cannot be read.
            LorakitError: memory ran out.
        """
        with quiet_libraries():
            source = self._encode_image(settings)
            self.before_step(0)
            guider = _guider(settings.cfg)
            prompt = self._conditioning(settings.prompt)
            negative = None
            if guider.num_conditions > 1:
                negative = self._conditioning(settings.negative_prompt)
            denoise = partial(
                self._denoise,
                settings,
                on_step,
                guider=guider,
                prompt_embeds=prompt,
                negative_prompt_embeds=negative,
                image_latents=source,
            )
            latents = self._compile_or_not(lambda: self._memory.run("denoise", denoise))
            image = self._memory.run("decode", lambda: self._decode(latents))
        return _to_image(image)

    def _compile_or_not(self, denoise: Callable[[], torch.Tensor]) -> torch.Tensor:
        try:
            return denoise()
        except RuntimeError as error:
            problem = compiling_problem(error) if self._compiled else None
            if problem is None:
                raise
        uncompile_blocks(self._transformer)
        self._compiled = False
        self.on_notice(f"The transformer cannot be compiled here, so it runs without: {problem}")
        return denoise()

    def _conditioning(self, prompt: str) -> torch.Tensor:
        known = self._prompts.remembered(prompt, self.text_key)
        if known is not None:
            return known
        return self._memory.run("text", lambda: self._prompts.encode(prompt, self.text_key))

    def _encode_image(self, settings: RenderSettings) -> torch.Tensor | None:
        """The starting image as [1, channels, 1, height / 8, width / 8] in the transformer's scale."""
        if settings.image is None:
            return None
        size = settings.width, settings.height
        image = read_starting_image(settings.image, *size)

        def encode() -> torch.Tensor:
            made: torch.Tensor = self._stages.image(
                image=image, width=size[0], height=size[1], output="image_latents"
            )
            require_finite(made, "image")
            return made

        return self._memory.run("image", encode)

    def _denoise(
        self,
        settings: RenderSettings,
        on_step: OnStep | None,
        *,
        guider: ClassifierFreeGuidance,
        **inputs: torch.Tensor | None,
    ) -> torch.Tensor:
        self.before_step(settings.first_step)
        scheduler = make_scheduler(self._scheduler_config, settings, self.before_step, on_step)
        self._stages.denoise.update_components(guider=guider, scheduler=scheduler)
        latents: torch.Tensor = self._stages.denoise(
            **inputs,
            height=settings.height,
            width=settings.width,
            num_inference_steps=settings.steps,
            strength=settings.denoise,
            generator=torch.Generator("cpu").manual_seed(settings.seed),
            output="latents",
        )
        return latents

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """[3, height, width] from 0 to 1."""
        images = self._stages.decode(latents=latents, output_type="pt", output="images")
        require_finite(images, "decoder")
        image: torch.Tensor = images[0]
        return image


def _guider(cfg: float) -> ClassifierFreeGuidance:
    from diffusers.guiders import ClassifierFreeGuidance

    # At a scale of 1 this guider asks for the conditional pass alone.
    return ClassifierFreeGuidance(guidance_scale=cfg)


def _to_image(image: torch.Tensor) -> Image:
    """`image` is [3, height, width] from 0 to 1."""
    from PIL.Image import fromarray

    pixels = (image.float().clamp(0, 1) * 255).round().to(torch.uint8)
    return fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())
