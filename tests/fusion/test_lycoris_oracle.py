"""LyCORIS as the oracle: networks it saves, fused by lorakit, give what its own forward computes.

The forward is asked, and not `merge_to`, which applies alpha / rank twice to LoHa and LoKr (lycoris-lora
4.1.3, shown by the last test here). An identity matrix through a patched linear layer gives its weight.
It is run in float64, so that what is measured is lorakit's rounding alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lorakit

lycoris = pytest.importorskip("lycoris")
from lycoris.kohya import create_network  # noqa: E402 - after importorskip

pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ["self_attn.q_proj", "mlp.layer1", "cross_attn.k_proj"]
SHAPES = {"self_attn.q_proj": (64, 64), "mlp.layer1": (128, 64), "cross_attn.k_proj": (64, 32)}

ALGOS: dict[str, dict[str, Any]] = {
    "lora": {"algo": "lora"},
    "rslora": {"algo": "lora", "rs_lora": True},
    "dora": {"algo": "lora", "dora_wd": True},
    "dora on columns": {"algo": "lora", "dora_wd": True, "wd_on_output": False},
    "loha": {"algo": "loha"},
    "doha": {"algo": "loha", "dora_wd": True},
    "lokr": {"algo": "lokr", "factor": 4},
    "lokr, both factors split": {"algo": "lokr", "factor": 8, "decompose_both": True},
    "lokr, both factors whole": {"algo": "lokr", "factor": 4, "full_matrix": True},
    "dokr": {"algo": "lokr", "factor": 4, "dora_wd": True},
    "oft": {"algo": "diag-oft"},
    "oft, rescaled": {"algo": "diag-oft", "rescaled": True},
    # A limit that float32 holds exactly, since the file keeps it so.
    "oft, constrained": {"algo": "diag-oft", "constraint": 1 / 256},
    "boft": {"algo": "boft"},
    "boft, rescaled": {"algo": "boft", "rescaled": True},
    "glora": {"algo": "glora"},
    "ia3": {"algo": "ia3"},
    "ia3 on input": {"algo": "ia3", "train_on_input": True},
    "tlora": {"algo": "tlora"},
    "full": {"algo": "full"},
}

# What the file itself leaves open, relative to the delta, where it is more than float64's own rounding:
# `full` stores a float32 difference of float32 weights, and T-LoRA's starting point, which is not in
# the file, is a float32 decomposition of the weight (the library's own; lorakit takes it again).
FLOAT64_LIMIT = {"full": 5e-8, "tlora": 1e-5}


@pytest.fixture(autouse=True, scope="module")
def quick_collections() -> Iterator[None]:
    """The library collects garbage once a module, which takes as long as there are objects to visit."""
    gc.freeze()
    yield
    gc.unfreeze()


class Block(nn.Module):
    """One transformer block's linear layers under Anima's names."""

    def __init__(self) -> None:
        super().__init__()
        for name, (out, inner) in SHAPES.items():
            owner, leaf = name.split(".")
            if not hasattr(self, owner):
                self.add_module(owner, nn.Module())
            linear = nn.Linear(inner, out, bias=False)
            getattr(self, owner).add_module(leaf, linear)


class Dit(nn.Module):
    """Two such blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])


def _base(dit: Dit) -> dict[str, torch.Tensor]:
    base = {f"net.{key}": tensor.detach().clone() for key, tensor in dit.state_dict().items()}
    base["net.llm_adapter.blocks.0.cross_attn.q_proj.weight"] = torch.zeros(4, 4)
    return base


def _network(dit: Dit, options: dict[str, Any], alpha: float) -> Any:
    network = create_network(
        1.0,
        4,
        alpha,
        None,
        [],
        dit,
        preset="full",
        conv_dim=4,
        conv_alpha=alpha,
        **{key: str(value) for key, value in options.items()},
    )
    network.apply_to([], dit, False, True)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        # Magnitudes and rescales start from the weight's own, so they are moved and not replaced.
        scale = 0.02 if "oft_blocks" in name else 0.1
        parameter.data.add_(noise * scale)
    return network


def _forward_weight(linear: nn.Linear) -> torch.Tensor:
    # Identities that the library makes on the way have the default dtype, and OFT's inverse is taken
    # in float32 by name.
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), pytest.MonkeyPatch.context() as patched:
            patched.setattr(torch.Tensor, "float", torch.Tensor.double)
            weight: torch.Tensor = linear(torch.eye(linear.in_features)).T
    finally:
        torch.set_default_dtype(torch.float32)
    return weight


@pytest.mark.parametrize("name", ALGOS)
@pytest.mark.parametrize("alpha", [4.0, 2.0])
def test_every_algorithm_gives_what_the_librarys_forward_computes(
    tmp_path: Path, name: str, alpha: float
) -> None:
    torch.manual_seed(0)
    dit = Dit()
    base = _base(dit)
    network = _network(dit, ALGOS[name], alpha)
    path = tmp_path / "a.safetensors"
    save_file({key: t.contiguous() for key, t in network.state_dict().items()}, path)
    double = {key: tensor.double() for key, tensor in base.items()}
    single = lorakit.fuse(base, [(path, 1.0)])
    fused = lorakit.fuse(double, [(path, 1.0)])
    half = lorakit.fuse(double, [(path, 0.5)])
    assert len(fused.touched) == len(NAMES) * 2
    network.double()
    dit.double()
    for block in range(2):
        for inner in NAMES:
            key = f"net.blocks.{block}.{inner}.weight"
            linear = dit.get_submodule(f"blocks.{block}.{inner}")
            wanted = _forward_weight(linear)  # type: ignore[arg-type]
            delta = (wanted - double[key]).norm()
            assert delta > 1e-3 * double[key].norm(), key
            assert (single[key].double() - wanted).norm() / delta < 1e-6, key
            assert (fused[key] - wanted).norm() / delta < FLOAT64_LIMIT.get(name, 1e-13), key
            # Strength interpolates the result, whatever the algorithm.
            torch.testing.assert_close(half[key], (fused[key] + double[key]) / 2)


@pytest.mark.parametrize(("name", "wrong"), [("loha", True), ("lokr", True), ("lora", False)])
def test_the_librarys_own_merge_applies_alpha_twice_to_loha_and_lokr(
    name: str, wrong: bool
) -> None:
    """The reason why the forward is the oracle. When this fails, the library has been mended."""
    torch.manual_seed(0)
    dit = Dit()
    base = _base(dit)
    network = _network(dit, ALGOS[name], alpha=2.0)
    module = next(lora for lora in network.unet_loras if lora.lora_name.endswith("q_proj"))
    merged, _ = module.get_merged_weight(1.0)
    weight = base["net.blocks.0.self_attn.q_proj.weight"]
    network.double()
    linear = dit.double().get_submodule("blocks.0.self_attn.q_proj")
    delta = _forward_weight(linear) - weight  # type: ignore[arg-type]
    gain = float((merged.double() - weight).norm() / delta.norm())
    # alpha 2 over rank 4 is one half, applied once more.
    assert gain == pytest.approx(0.5 if wrong else 1.0, rel=1e-3)
