"""What is written is read by those it is written for: PEFT, diffusers and LyCORIS themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import lorakit
from lorakit.formats import anima
from lorakit.formats.layouts import WRITABLE, WritableLayout
from tests.fusion.test_peft_oracle import CONFIGS, merged_by_peft, module_of
from tests.models import lora_file, random_lora, tiny_base, usual_names

peft = pytest.importorskip("peft")
diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", CONFIGS)
def test_peft_reads_what_came_back_from_kohyas_layout(tmp_path: Path, name: str) -> None:
    base = tiny_base(2)
    torch.manual_seed(0)
    model = peft.get_peft_model(module_of(base), CONFIGS[name]())
    for parameter_name, parameter in model.named_parameters():
        if "oft" in parameter_name:
            parameter.data.mul_(0.1)
    wanted = merged_by_peft(model, tmp_path / "theirs")
    (tmp_path / "kohya").mkdir()
    (tmp_path / "ours").mkdir()
    kohya = tmp_path / "kohya" / "a.safetensors"
    lorakit.load_adapter(tmp_path / "theirs" / "adapter_model.safetensors").save(
        kohya, layout="kohya"
    )
    # Without the record of the names that PEFT had, which would come back.
    save_file(load_file(kohya), kohya)
    lorakit.load_adapter(kohya).save(tmp_path / "ours" / "adapter_model.safetensors", layout="peft")
    read = peft.PeftModel.from_pretrained(module_of(base, anima.to_diffusers), tmp_path / "ours")
    found = merged_by_peft(read, tmp_path / "again")
    changed = 0
    for key, weight in wanted.items():
        before = base[f"net.{key}"].double()
        delta = float((weight - before).norm())
        changed += delta > 0
        there = found[anima.diffusers_tensor_name(key)]
        assert float((there - weight).norm()) <= 2e-7 * delta, key
    assert changed == 6


def test_the_way_back_leads_to_the_names_of_the_model_that_was_trained(tmp_path: Path) -> None:
    base = tiny_base(2)
    torch.manual_seed(0)
    wanted = merged_by_peft(
        peft.get_peft_model(module_of(base), CONFIGS["lora"]()), tmp_path / "theirs"
    )
    (tmp_path / "ours").mkdir()
    comfy, ours = tmp_path / "a.safetensors", tmp_path / "ours" / "adapter_model.safetensors"
    lorakit.load_adapter(tmp_path / "theirs" / ours.name).save(comfy, layout="comfy")
    lorakit.load_adapter(comfy).save(ours, layout="peft")
    found = merged_by_peft(
        peft.PeftModel.from_pretrained(module_of(base), ours.parent), tmp_path / "x"
    )
    assert all(torch.equal(found[key], weight) for key, weight in wanted.items())


def small_transformer() -> Any:
    """diffusers' own class, of the shapes that `tiny_base` has."""
    return diffusers.CosmosTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        mlp_ratio=4.0,
        text_embed_dim=16,
        adaln_lora_dim=4,
        max_size=(8, 16, 16),
        patch_size=(1, 2, 2),
        concat_padding_mask=True,
        extra_pos_embed_type=None,
    )


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("layout", ["diffusers", "peft"])
def test_diffusers_and_peft_apply_every_rank_and_alpha(
    tmp_path: Path, layout: WritableLayout, dora: bool
) -> None:
    names = usual_names(2)
    modules = random_lora(names, 2, rank=4, scale=0.3)
    modules |= random_lora(names[:3], 2, rank=6, scale=1.7)
    modules |= random_lora(names[10:12], 2, rank=4, scale=2.0)
    source = lora_file(tmp_path / "a.safetensors", modules)
    if dora:
        source = as_dora(source, tmp_path)
    target = tmp_path / "out" / "adapter_model.safetensors"
    target.parent.mkdir()
    lorakit.load_adapter(source).save(target, layout=layout)
    transformer = small_transformer()
    if layout == "diffusers":
        loader = diffusers.loaders.AnimaLoraLoaderMixin
        state, metadata = loader.lora_state_dict(
            str(target.parent), weight_name=target.name, return_lora_metadata=True
        )
        loader.load_lora_into_transformer(state, transformer, metadata=metadata)
        read = transformer
    else:
        read = peft.PeftModel.from_pretrained(transformer, target.parent).base_model.model
    ours = lorakit.load_adapter(target)
    for name in names:
        layer = read.get_submodule(anima.to_diffusers(name))
        before = layer.base_layer.weight.detach().clone()
        layer.merge()
        change = layer.base_layer.weight.detach() - before
        wanted = ours.modules[name].delta(before)
        assert float((change - wanted).norm()) < 1e-6 * float(before.norm()), name
        assert float(wanted.norm()) > 1e-3 * float(before.norm())


def as_dora(path: Path, folder: Path) -> Path:
    """The same LoRA with a magnitude for every row."""
    tensors = load_file(path)
    torch.manual_seed(1)
    for key in [key for key in tensors if key.endswith(".alpha")]:
        stem = key.removesuffix(".alpha")
        rows = tensors[f"{stem}.lora_up.weight"].shape[0]
        tensors[f"{stem}.dora_scale"] = torch.rand(rows, 1) + 0.5
    save_file(tensors, folder / "dora.safetensors")
    return folder / "dora.safetensors"


@pytest.mark.parametrize("through", [layout for layout in WRITABLE if layout != "kohya"])
def test_lycoris_reads_what_came_back_to_kohyas_layout(
    tmp_path: Path, through: WritableLayout
) -> None:
    lycoris = pytest.importorskip("lycoris.kohya")
    base = tiny_base(2)
    source = lora_file(tmp_path / "a.safetensors", random_lora(usual_names(2), 2, scale=0.3))
    there = tmp_path / "adapter_model.safetensors"
    lorakit.load_adapter(source).save(there, layout=through)
    back = tmp_path / "back.safetensors"
    lorakit.load_adapter(there).save(back, layout="kohya")
    model = module_of(base)
    network, weights = lycoris.create_network_from_weights(1.0, str(back), None, None, model)
    network.apply_to(None, model, False, True)
    network.load_state_dict(weights, strict=False)
    ours = lorakit.load_adapter(source)
    assert len(network.unet_loras) == len(ours.modules)
    for lora in network.unet_loras:
        name = anima.from_flat(lora.lora_name.removeprefix("lora_unet_"))
        assert name is not None
        wanted = ours.modules[name].delta(base[f"net.{name}.weight"])
        found = lora.get_diff_weight(1.0)[0]
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-8), name
