"""Fusing on a CUDA device, which is pretended: the CPU's numbers, and nothing of two places in one operation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.formats.anima import to_diffusers
from lorakit.fusion.base import open_base
from lorakit.fusion.live import LiveFusion
from lorakit.fusion.live_memory import RESERVE_BYTES, Mode
from lorakit.fusion.restacking import Stacked, hold_stacks, plan_stack
from lorakit.fusion.unfused import UnfusedSteps, free_bytes
from lorakit.strengths import Strength
from tests.models import memory_adapter, random_lora, tiny_base
from tests.pretend_cuda import pretend_cuda

# The pretended device is that of one thread.
pytestmark = pytest.mark.usefixtures("one_core")

NAMES = [f"blocks.{i}.{kind}" for i in (0, 1) for kind in ("self_attn.q_proj", "mlp.layer1")]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.1


# Of a weight (32, 32) each, but the norm.
ALGORITHMS = {
    "self_attn.q_proj": {"hada_w1_a": drawn(32, 2), "hada_w1_b": drawn(2, 32)}
    | {"hada_w2_a": drawn(32, 2), "hada_w2_b": drawn(2, 32)},
    "self_attn.k_proj": {"lokr_w1": drawn(4, 4), "lokr_w2": drawn(8, 8)},
    "self_attn.v_proj": {"lora_A.weight": drawn(2, 32), "lora_B.weight": drawn(32, 2)}
    | {"dora_scale": drawn(32, 1).abs()},
    "self_attn.output_proj": {"oft_blocks": drawn(8, 4, 4), "rescale": drawn(32, 1)},
    "cross_attn.q_proj": {"oft_R.weight": drawn(8, 6)},
    "cross_attn.output_proj": {"p_layer.weight": drawn(32, 2), "q_layer.weight": drawn(2, 32)}
    | {"lambda_layer": drawn(1, 2)},
    "self_attn.q_norm": {"w_norm": drawn(8)},
}
MORE = {
    "self_attn.q_proj": {"oft_blocks": drawn(2, 8, 4, 4)},
    "self_attn.k_proj": {"diff": drawn(32, 32)},
    "self_attn.v_proj": {"weight": drawn(32), "on_input": torch.tensor(True)},
    "self_attn.output_proj": {"a1.weight": drawn(32, 2), "a2.weight": drawn(2, 32)}
    | {"b1.weight": drawn(32, 2), "b2.weight": drawn(2, 32)},
    "cross_attn.q_proj": {"set_weight": drawn(32, 32)},
}


def every_algorithm(folder: Path) -> list[Adapter]:
    """Two adapters that have, between them, a module of every algorithm."""
    found = []
    for number, modules in enumerate((ALGORITHMS, MORE)):
        path = folder / f"{number}.safetensors"
        stem = "lycoris_blocks_0_"
        save_file(
            {
                f"{stem}{name.replace('.', '_')}.{part}": tensor
                for name, parts in modules.items()
                for part, tensor in parts.items()
            },
            path,
        )
        found.append(lorakit.load_adapter(path))
        assert len(found[-1].modules) == len(modules)
    return found


def plain() -> list[Adapter]:
    return [memory_adapter(random_lora(NAMES, 2, rank=3 + seed, seed=seed)) for seed in range(2)]


def assert_same(found: torch.Tensor, wanted: torch.Tensor, name: str) -> None:
    assert found.device.type == "cuda", name
    assert torch.equal(found.cpu(), wanted), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float8_e4m3fn])
def test_a_fuse_of_every_algorithm(tmp_path: Path, dtype: torch.dtype) -> None:
    base = {
        key: tensor.to(dtype) if tensor.ndim == 2 else tensor
        for key, tensor in tiny_base(2).items()
    }
    entries = [(one, 0.5) for one in (*every_algorithm(tmp_path), *plain())]
    wanted = lorakit.fuse(base, entries)
    with pretend_cuda():
        found = lorakit.fuse(base, entries, device="cuda")
        assert len(found.touched) == 10
        for key in base:
            assert_same(found[key], wanted[key], key)


@pytest.mark.parametrize("mode", ["device", "host"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_live_stack_with_recorded_launches(
    tmp_path: Path, mode: Mode, dtype: torch.dtype
) -> None:
    base = tiny_base(2, dtype=dtype)
    adapters = [*plain(), *every_algorithm(tmp_path)]
    series = ([0.1, 0.2, 0.3, 0.1], [0.4, 0.0, 0.6, 0.2], [0.0] * 4, [0.8, -0.6, 0.5, 0.4])
    wanted = []
    with LiveFusion(base, adapters) as live:
        for strengths in series:
            live.set_strengths(strengths)
            wanted.append({key: live.weights[key].clone() for key in base})
    with pretend_cuda(), LiveFusion(base, adapters, device="cuda", mode=mode) as live:
        given = dict(live.weights)
        for strengths, right in zip([*series, *series], [*wanted, *wanted], strict=True):
            live.set_strengths(strengths)
            for key in base:
                assert_same(given[key], right[key], key)


@pytest.mark.parametrize(
    ("share", "where"), [(9, "kept on cuda:0"), (2, "kept on the host"), (0.5, "one at a time")]
)
def test_the_memory_of_a_card_decides_where_the_pristine_weights_are(
    share: float, where: str
) -> None:
    base, library = tiny_base(2, dtype=torch.bfloat16), plain()
    weights = sum(2 * base[f"net.{name}.weight"].numel() for name in NAMES)
    stack: Stacked = [(library[0], Strength(0.8)), (library[1], Strength(0.5))]
    with pretend_cuda(free=RESERVE_BYTES + int(share * weights)):
        held = hold_stacks(
            open_base(base), library, device="cuda", held=torch.bfloat16, engine="live"
        )
        assert where in held.reason
        found = held.start(plan_stack(open_base(base), stack), stack)
        assert all(found[f"{name}.weight"].is_cuda for name in NAMES)


def test_weights_that_are_fused_again_one_at_a_time() -> None:
    base, library = open_base(tiny_base(2)), plain()
    stacks: list[Stacked] = [[(library[0], Strength(s)), (library[1], Strength(1))] for s in (1, 2)]

    def run(device: str) -> list[dict[str, torch.Tensor]]:
        held = hold_stacks(base, library, device=device, held=torch.float32, engine="rewrite")
        first = held.start(plan_stack(base, stacks[0]), stacks[0])
        return [first, dict(held.change(plan_stack(base, stacks[1]), stacks[1]))]

    wanted = run("cpu")
    with pretend_cuda(free=5, total=9):
        assert free_bytes(torch.device("cuda")) == 5
        for one, other in zip(run("cuda"), wanted, strict=True):
            assert one.keys() == other.keys()
            for name, tensor in other.items():
                assert_same(one[name], tensor, name)


def test_the_pretended_device_refuses_what_cuda_refuses() -> None:
    with pretend_cuda():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        assert float((there * torch.tensor(2.0)).sum()) == 6
        for wrong in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: here[there.long()],
            lambda: there.mul_(here),
            lambda: there.numpy(),
            lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
        ):
            with pytest.raises((RuntimeError, TypeError)):
                wrong()
    assert not torch.cuda.is_available()


# From within PyTorch's compiler, which the pretended device has imported.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_strengths_by_step_beside_weights_that_are_on_the_device() -> None:
    """What is left where a card has no room to fuse again: factors come to it one layer at a time."""
    base, (one, _) = open_base(tiny_base(2)), plain()
    name = "blocks.1.self_attn.q_proj"
    stack: Stacked = [(one, Strength.of(0.8, steps="1-"))]
    x = drawn(3, 32)

    def outputs(device: str) -> list[torch.Tensor]:
        model = nn.Module()
        for module in one.modules:
            weight = base[base.names[f"{module}.weight"]].to(device)
            layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            layer.weight = nn.Parameter(weight, requires_grad=False)
            _put(model, to_diffusers(module).split("."), layer)
        hooks = UnfusedSteps(model, plan_stack(base, stack), stack)
        found = []
        for step in (0, 1):
            hooks.at(step)
            found.append(model.get_submodule(to_diffusers(name))(x.to(device)))
        return found

    wanted = outputs("cpu")
    assert not torch.equal(*wanted)
    with pretend_cuda():
        for found, right in zip(outputs("cuda"), wanted, strict=True):
            assert_same(found, right, name)


def _put(model: nn.Module, path: list[str], layer: nn.Module) -> None:
    for part in path[:-1]:
        if part not in dict(model.named_children()):
            model.add_module(part, nn.Module())
        model = model.get_submodule(part)
    model.add_module(path[-1], layer)
