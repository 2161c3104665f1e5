"""PEFT as the oracle: files it saves, fused by lorakit, give the weights it merges itself.

It merges in float64 here, so that what is measured is lorakit's rounding alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lorakit
from tests.models import lora_file, random_lora, tiny_base

peft = pytest.importorskip("peft")


def module_of(
    base: dict[str, torch.Tensor], spelled: Callable[[str], str] = lambda name: name
) -> nn.Module:
    """The linear layers of a base as plain modules, under its own dotted names or as `spelled`."""
    root = nn.Module()
    for key, tensor in base.items():
        name = key.removeprefix("net.").removesuffix(".weight")
        if not name.startswith("blocks.") or tensor.ndim != 2:
            continue
        owner = root
        *path, leaf = spelled(name).split(".")
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner._modules[part]  # type: ignore[assignment]
        linear = nn.Linear(tensor.shape[1], tensor.shape[0], bias=False)
        linear.weight.data = tensor.clone()
        owner.add_module(leaf, linear)
    return root


TARGETS = r".*\.(mlp\.layer1|self_attn\.q_proj|cross_attn\.k_proj)"
_LORA = {"r": 8, "lora_alpha": 5, "target_modules": TARGETS, "init_lora_weights": False}
CONFIGS: dict[str, Any] = {
    "lora": lambda: peft.LoraConfig(**_LORA, alpha_pattern={r"blocks\.1\.mlp\.layer1": 3}),
    "rslora": lambda: peft.LoraConfig(**_LORA, use_rslora=True),
    "dora": lambda: peft.LoraConfig(**_LORA, use_dora=True),
    "loha": lambda: peft.LoHaConfig(r=8, alpha=5, target_modules=TARGETS, init_weights=False),
    "lokr": lambda: peft.LoKrConfig(r=2, alpha=5, target_modules=TARGETS, init_weights=False),
    "lokr, both factors whole": lambda: peft.LoKrConfig(
        r=64, alpha=48, target_modules=TARGETS, init_weights=False
    ),
    "oft": lambda: peft.OFTConfig(
        r=0, oft_block_size=8, target_modules=TARGETS, init_weights=False, use_cayley_neumann=True
    ),
}


def merged_by_peft(model: Any, folder: Path) -> dict[str, torch.Tensor]:
    """What PEFT itself makes of the adapter that it saves into `folder`."""
    model.save_pretrained(folder)
    torch.set_default_dtype(torch.float64)
    try:
        return dict(model.double().merge_and_unload().state_dict())
    finally:
        torch.set_default_dtype(torch.float32)


def _check_fused(
    folder: Path, base: dict[str, torch.Tensor], merged: dict[str, torch.Tensor]
) -> frozenset[str]:
    """Fuse the saved file in both precisions; the keys it touches."""
    path = folder / "adapter_model.safetensors"
    single = lorakit.fuse(base, [(path, 1.0)])
    double = lorakit.fuse({key: t.double() for key, t in base.items()}, [(path, 1.0)])
    assert single.touched
    for key in single.touched:
        wanted = merged[key.removeprefix("net.")]
        delta = (wanted - base[key].double()).norm()
        assert delta > 0
        assert (single[key].double() - wanted).norm() / delta < 1e-6, key
        assert (double[key] - wanted).norm() / delta < 1e-13, key
    return single.touched


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore")
def test_peft_files_give_the_weights_that_peft_merges(tmp_path: Path, name: str) -> None:
    base = tiny_base(2)
    torch.manual_seed(0)
    model = peft.get_peft_model(module_of(base), CONFIGS[name]())
    for parameter_name, parameter in model.named_parameters():
        if "oft" in parameter_name:
            parameter.data.mul_(0.1)
    merged = merged_by_peft(model, tmp_path)
    touched = _check_fused(tmp_path, base, merged)
    untouched = set(merged) - {key.removeprefix("net.") for key in touched}
    assert all(torch.equal(merged[name], base[f"net.{name}"].double()) for name in untouched)


def test_a_rank_of_its_own_divides_the_alpha_of_a_whole_lokr(tmp_path: Path) -> None:
    base = tiny_base(1)
    config = peft.LoKrConfig(
        r=64, alpha=16, rank_pattern={"layer1": 128}, target_modules=TARGETS, init_weights=False
    )
    torch.manual_seed(0)
    model = peft.get_peft_model(module_of(base), config)
    _check_fused(tmp_path, base, merged_by_peft(model, tmp_path))


def test_patterns_that_diffusers_anchors_meet_names_behind_their_component(tmp_path: Path) -> None:
    metadata = {
        "transformer.r": 4,
        "transformer.lora_alpha": 4,
        "transformer.alpha_pattern": {"^transformer_blocks.0.ff.net.0.proj": 1.0},
    }
    modules = random_lora(["blocks.0.mlp.layer1", "blocks.1.mlp.layer1"], 2)
    path = lora_file(
        tmp_path / "a.safetensors",
        modules,
        "diffusers",
        {"lora_adapter_metadata": json.dumps(metadata)},
    )
    scales = {module.name: module.scale for module in lorakit.inspect(path).modules}
    assert scales == {"blocks.0.mlp.layer1": 0.25, "blocks.1.mlp.layer1": 1.0}
