"""diffusers: `set_adapters` and `fuse_lora` on its own transformer for Anima, of one block."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.diffusers_model import empty_transformer
from bench.fidelity_cases import Case, Deltas, Source
from bench.fidelity_figures import Refused, Tool, refusals
from bench.fidelity_files import write_diffusers, write_flat
from lorakit.formats.anima import to_diffusers
from lorakit.preview.quiet import quiet_libraries

if TYPE_CHECKING:
    from diffusers import CosmosTransformer3DModel
    from diffusers.modular_pipelines.anima import AnimaModularPipeline


def tools() -> list[Tool]:
    """The same adapters in diffusers' layout, and as trainers write them."""
    return [
        Tool("diffusers `fuse_lora`", partial(_fused, own=True)),
        Tool("diffusers `fuse_lora`, kohya's file", partial(_fused, own=False)),
    ]


def _fused(case: Case, folder: Path, *, own: bool) -> Deltas:
    with quiet_libraries():
        model = _transformer(case)
        pipeline = _pipeline(model)
    names = [f"adapter_{number}" for number in range(len(case.sources))]
    with warnings.catch_warnings(), quiet_libraries():
        warnings.simplefilter("ignore")
        for name, source in zip(names, case.sources, strict=True):
            path = _file(source, folder / f"{name}.safetensors", own=own)
            with refusals():
                pipeline.load_lora_weights(str(path), adapter_name=name)
            if name not in getattr(model, "peft_config", {}):
                raise Refused("no module is loaded, and no error raised")
        with refusals():
            pipeline.set_adapters(names, [source.strength for source in case.sources])
            pipeline.fuse_lora(components=["transformer"], adapter_names=names)
    return {
        module: _weight(model, module).double() - weight.double()
        for module, weight in case.base.items()
    }


def _file(source: Source, path: Path, *, own: bool) -> Path:
    if not own:
        return write_flat(path, source)
    if source.algo == "loha":
        raise Refused("its layout has no name for it")
    return write_diffusers(path, source)


def _pipeline(model: CosmosTransformer3DModel) -> AnimaModularPipeline:
    """diffusers' Anima pipeline with the transformer alone, which is all that loading needs."""
    from diffusers.modular_pipelines.anima import AnimaAutoBlocks

    pipeline: AnimaModularPipeline = AnimaAutoBlocks().init_pipeline()
    pipeline.update_components(transformer=model)
    return pipeline


def _transformer(case: Case) -> CosmosTransformer3DModel:
    """One block of the real width, zeros but for the case's modules; the MLP is narrow."""
    model = empty_transformer(1, mlp_ratio=0.125).to(case.dtype).to_empty(device="cpu")
    state = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items()}
    for module, weight in case.base.items():
        state[f"{to_diffusers(module)}.weight"] = weight.clone()
    model.load_state_dict(state)
    return model.requires_grad_(False).eval()


def _weight(model: CosmosTransformer3DModel, module: str) -> torch.Tensor:
    layer = model.get_submodule(to_diffusers(module))
    # A fused layer keeps its weight in the layer that PEFT has wrapped.
    found: torch.Tensor = getattr(layer, "base_layer", layer).weight
    return found
