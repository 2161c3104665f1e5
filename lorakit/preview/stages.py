"""diffusers' Anima blocks cut into the stages of a picture, each a pipeline of its own.

Cut so, a prompt can be encoded once for many pictures, memory that runs out costs one stage and not the
whole picture, and a part can leave the device while another stage runs. What each stage computes is
diffusers' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import AnimaTextConditioner, CosmosTransformer3DModel
    from diffusers.modular_pipelines import ModularPipelineBlocks
    from diffusers.modular_pipelines.anima import AnimaModularPipeline

    from lorakit.preview.components import Components


@dataclass(frozen=True)
class Stages:
    """`text`: a prompt to `prompt_embeds`; `image`: an image to `image_latents`; `denoise`: both to
    `latents`; `decode`: those to `images`."""

    text: AnimaModularPipeline
    image: AnimaModularPipeline
    denoise: AnimaModularPipeline
    decode: AnimaModularPipeline


def build_stages(
    transformer: CosmosTransformer3DModel,
    text_conditioner: AnimaTextConditioner,
    components: Components,
) -> Stages:
    """The four pipelines around models that are loaded already. Guider and scheduler are the caller's."""
    from diffusers.modular_pipelines import SequentialPipelineBlocks
    from diffusers.modular_pipelines.anima import AnimaAutoBlocks

    parts = AnimaAutoBlocks().sub_blocks
    denoise = parts["denoise"]
    conditioning = [way.sub_blocks.pop("text_conditioning") for way in denoise.sub_blocks.values()]
    text = SequentialPipelineBlocks.from_blocks_dict(
        {"text_encoder": parts["text_encoder"], "text_conditioning": conditioning[0]}
    )
    image = _pipeline(parts["vae_encoder"], vae=components.vae)
    # No part of that stage, but it asks its pipeline how many channels the transformer takes.
    image.transformer = transformer
    return Stages(
        text=_pipeline(
            text,
            text_encoder=components.text_encoder,
            tokenizer=components.tokenizer,
            t5_tokenizer=components.t5_tokenizer,
            text_conditioner=text_conditioner,
            transformer=transformer,
        ),
        image=image,
        denoise=_pipeline(denoise, transformer=transformer, scheduler=components.scheduler),
        decode=_pipeline(parts["decode"], vae=components.vae),
    )


def _pipeline(blocks: ModularPipelineBlocks, **components: object) -> AnimaModularPipeline:
    _hide_progress_bars(blocks)
    pipeline = blocks.init_pipeline()
    pipeline.update_components(**components)
    return pipeline


def _hide_progress_bars(blocks: ModularPipelineBlocks) -> None:
    # The pipeline's own switch reaches its outermost blocks; the denoising loop lies deeper.
    if hasattr(blocks, "set_progress_bar_config"):
        blocks.set_progress_bar_config(disable=True)
    for block in blocks.sub_blocks.values():
        _hide_progress_bars(block)
