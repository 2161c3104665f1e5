"""A live stack: the same numbers as a fuse, in place, as often as one likes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

import lorakit
from lorakit.adapters.adapter import Adapter, DoraFormula, LowRank
from lorakit.adapters.lora import LoraModule
from lorakit.errors import BadUsage, NotFusable
from lorakit.fusion.live import LiveFusion
from tests.models import (
    lora_file,
    memory_adapter,
    random_lora,
    tiny_base,
    tiny_shapes,
    usual_names,
)

BLOCKS = 3
NAMES = usual_names(BLOCKS)
TEXT = "llm_adapter.blocks.0.cross_attn.q_proj"
ROOT = Path(__file__).resolve().parents[2]


def mixed_stack(count: int, dtype: torch.dtype = torch.float32) -> list[dict[str, LoraModule]]:
    """Adapters of different rank and scale that touch different blocks and kinds."""
    everything = [*tiny_shapes(BLOCKS), TEXT]
    choices = [NAMES, everything, [n for n in everything if ".mlp." in n], usual_names(BLOCKS, 1)]
    return [
        random_lora(choices[i % 4], BLOCKS, rank=3 + i, scale=0.5 + 0.25 * i, seed=i, dtype=dtype)
        for i in range(count)
    ]


def exact(
    base: dict[str, torch.Tensor], stack: list[dict[str, LoraModule]], strengths: list[float]
) -> dict[str, torch.Tensor]:
    """The written formula in float64, for every key."""
    found = {key: weight.double() for key, weight in base.items()}
    for modules, strength in zip(stack, strengths, strict=True):
        for name, m in modules.items():
            delta = strength * m.scale * (m.up.double() @ m.down.double())
            found[f"net.{name}.weight"] = found[f"net.{name}.weight"] + delta
    return found


def error_ratio(live: LiveFusion, wanted: dict[str, torch.Tensor], dtype: torch.dtype) -> float:
    """Error over that of one ideal rounding of the float64 result, over all touched weights."""
    ours = ideal = 0.0
    for key in live.touched:
        ours += float((live.weights[key].double() - wanted[key]).square().sum())
        ideal += float((wanted[key].to(dtype).double() - wanted[key]).square().sum())
    return float((ours / ideal) ** 0.5)


STRENGTHS = [0.8, -0.6, 1.3, 0.1, -2.0, 0.5, 1.0, 0.7]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_float32_equals_fuse(count: int) -> None:
    base, strengths = tiny_base(BLOCKS), STRENGTHS[:count]
    adapters = [memory_adapter(modules) for modules in mixed_stack(count)]
    fused = lorakit.fuse(base, list(zip(adapters, strengths, strict=True)))
    with LiveFusion(base, adapters) as live:
        live.set_strengths(strengths)
        assert live.touched == fused.touched
        for key in base:
            torch.testing.assert_close(live.weights[key], fused[key], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_16_bit_weights_are_as_good_as_one_rounding(
    count: int, dtype: torch.dtype, stored: torch.dtype
) -> None:
    base, strengths = tiny_base(BLOCKS, dtype=stored), STRENGTHS[:count]
    stack = mixed_stack(count, dtype)
    live = LiveFusion(base, [memory_adapter(modules) for modules in stack])
    live.set_strengths(strengths)
    assert error_ratio(live, exact(base, stack, strengths), stored) <= 1.02


def test_8_bit_weights_are_live_in_bfloat16() -> None:
    base = {key: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for key, t in tiny_base().items()}
    stack = mixed_stack(2)
    live = LiveFusion(base, [memory_adapter(modules) for modules in stack])
    live.set_strengths([0.7, 0.4])
    wanted = exact({key: t.float() for key, t in base.items()}, stack, [0.7, 0.4])
    assert error_ratio(live, wanted, torch.bfloat16) <= 1.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_nothing_drifts_and_zero_gives_the_pristine_bytes(dtype: torch.dtype) -> None:
    base = tiny_base(BLOCKS, dtype=dtype)
    base["net.blocks.0.mlp.layer1.weight"][0, 0] = -0.0
    adapters = [memory_adapter(modules) for modules in mixed_stack(3)]
    live = LiveFusion(base, adapters)
    dice = random.Random(0)
    for _ in range(50):
        live.set_strengths([dice.uniform(-2, 2) for _ in adapters])
    live.set_strengths([0.3, 0.9, -0.4])
    fresh = LiveFusion(base, adapters)
    fresh.set_strengths([0.3, 0.9, -0.4])
    for key in base:
        assert torch.equal(live.weights[key], fresh.weights[key]), key
    live.unfuse()
    for key, weight in base.items():
        bits = torch.int16 if dtype.itemsize == 2 else torch.int32
        assert torch.equal(live.weights[key].view(bits), weight.view(bits)), key


def test_the_tensors_stay_the_same_objects() -> None:
    base = tiny_base(BLOCKS)
    before = {key: tensor.clone() for key, tensor in base.items()}
    live = LiveFusion(base, [memory_adapter(random_lora(NAMES, BLOCKS))])
    given = dict(live.weights)
    places = {key: tensor.data_ptr() for key, tensor in given.items()}
    live.set_strengths([0.9])
    for key, tensor in given.items():
        assert live.weights[key] is tensor
        assert tensor.data_ptr() == places[key]
        assert torch.equal(tensor, before[key]) == (key not in live.touched)
    assert set(live.weights) == set(base)
    assert live.by_canonical_name()["blocks.0.mlp.layer1.weight"] is given[f"net.{NAMES[8]}.weight"]
    assert all(torch.equal(base[key], before[key]) for key in base), "the base was written to"


def test_only_what_changed_is_rewritten() -> None:
    mlp = [name for name in NAMES if ".mlp." in name]
    live = LiveFusion(
        tiny_base(BLOCKS),
        [memory_adapter(random_lora(NAMES, BLOCKS)), memory_adapter(random_lora(mlp, BLOCKS))],
    )
    assert len(live.set_strengths([1.0, 1.0]).groups) == 10
    assert live.set_strengths([1.0, 1.0]).groups == ()
    done = live.set_strengths([1.0, 0.5])
    assert done.groups == ("blocks.*.mlp.layer1.weight", "blocks.*.mlp.layer2.weight")
    assert set(done.tensors) == {f"{name}.weight" for name in mlp}
    table = [[1.0, 1.0, 0.2], [0.5] * BLOCKS]
    done = live.set_strengths(table)
    assert set(done.tensors) == {f"{name}.weight" for name in NAMES if name.startswith("blocks.2.")}


def test_strengths_by_block_and_by_module() -> None:
    base, stack = tiny_base(BLOCKS), [random_lora(NAMES, BLOCKS, seed=i) for i in range(2)]
    live = LiveFusion(base, [memory_adapter(modules) for modules in stack])
    table = [[0.1, 0.0, -0.7], [0.4, 0.0, 0.9]]
    for strengths in (table, lambda entry, name: table[entry][int(name.split(".")[1])]):
        live.unfuse()
        live.set_strengths(strengths)
        for name in NAMES:
            key, block = f"net.{name}.weight", int(name.split(".")[1])
            parts = [{name: modules[name]} for modules in stack]
            wanted = exact({key: base[key]}, parts, [row[block] for row in table])[key]
            torch.testing.assert_close(live.weights[key].double(), wanted, rtol=1e-6, atol=1e-6)
            assert block != 1 or torch.equal(live.weights[key], base[key])


def test_the_text_adapter_is_told_apart() -> None:
    live = LiveFusion(tiny_base(), [memory_adapter(random_lora([TEXT, NAMES[0]], BLOCKS))])
    only_dit = live.set_strengths(lambda entry, name: 0.0 if name == TEXT else 1.0)
    assert not only_dit.text_adapter
    assert live.set_strengths([1.0]).text_adapter
    with pytest.raises(BadUsage, match="llm_adapter"):
        live.set_strengths([[1.0] * BLOCKS])


class Squared:
    """A change that depends on the weight and is no product of thin factors."""

    def low_rank(self) -> LowRank | None:
        return None

    def delta(self, weight: torch.Tensor, dora: DoraFormula = "trainer") -> torch.Tensor:
        assert weight.dtype == torch.float32
        return weight * weight


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float32])
def test_a_change_of_full_rank_is_added_before_the_rounding(stored: torch.dtype) -> None:
    base, modules = tiny_base(BLOCKS, dtype=stored), random_lora(NAMES, BLOCKS)
    other = memory_adapter(random_lora(NAMES[:5], BLOCKS, seed=1))
    full = Adapter(other.path, dict.fromkeys(NAMES[:5], Squared()), other.report)
    live = LiveFusion(base, [memory_adapter(modules), full])
    for strengths in ([0.5, 30.0], [0.0, 0.0], [0.0, -20.0], [0.5, 30.0]):
        live.set_strengths(strengths)
    wanted = exact(base, [modules], [0.5])
    for name in NAMES[:5]:
        key = f"net.{name}.weight"
        wanted[key] = wanted[key] + 30 * base[key].double().square()
    limit = 1.02 if stored == torch.bfloat16 else 10
    assert error_ratio(live, wanted, stored) <= limit
    live.unfuse()
    assert all(torch.equal(live.weights[key], base[key]) for key in base)


def test_the_place_of_the_pristine_weights_is_chosen_and_explained() -> None:
    base = tiny_base(BLOCKS, dtype=torch.bfloat16)
    adapters = [memory_adapter(modules) for modules in mixed_stack(3)]
    roomy = LiveFusion(base, adapters, memory_limit=10**9)
    assert roomy.mode == "device"
    assert "fit into" in roomy.mode_reason
    weights = sum(2 * base[key].numel() for key in roomy.touched)
    roomy.set_strengths([0.3, -0.2, 0.9])
    for options in ({"memory_limit": int(3 * weights)}, {"mode": "host"}):
        tight = LiveFusion(base, adapters, **options)
        assert tight.mode == "host"
        assert "host" in tight.mode_reason
        tight.set_strengths([0.3, -0.2, 0.9])
        assert all(torch.equal(tight.weights[key], roomy.weights[key]) for key in base)
    for limit, mode in ((1000, None), (int(3 * weights), "device")):
        with pytest.raises(NotFusable, match="GB on cpu") as caught:
            LiveFusion(base, adapters, memory_limit=limit, mode=mode)  # type: ignore[arg-type]
        assert caught.value.hint


def test_files_and_chunks_give_the_same(tmp_path: Path) -> None:
    base, modules = tiny_base(BLOCKS), random_lora(NAMES, BLOCKS)
    path = lora_file(tmp_path / "a.safetensors", modules)
    one = LiveFusion(base, [path], chunk_bytes=1)
    other = LiveFusion(base, [memory_adapter(modules)], chunk_bytes=None)
    for live in (one, other):
        live.set_strengths([0.6])
    for key in base:
        torch.testing.assert_close(one.weights[key], other.weights[key], rtol=1e-6, atol=1e-8)


def test_what_cannot_be_done_is_said() -> None:
    base = tiny_base(1)
    with pytest.raises(NotFusable, match="larger model"):
        LiveFusion(base, [memory_adapter(random_lora(usual_names(2), 2))])
    live = LiveFusion(base, [memory_adapter(random_lora(usual_names(1), 1))])
    for wrong in ([], [1.0, 2.0], [float("nan")], [[1.0, 1.0]], ["x"], [[1.0], 2.0]):
        with pytest.raises(BadUsage):
            live.set_strengths(wrong)  # type: ignore[arg-type]
    live.close()
    with pytest.raises(BadUsage, match="closed"):
        live.set_strengths([1.0])


def test_a_transformer_that_holds_the_tensors_sees_the_change(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from lorakit.preview.demo_model import write_demo_model
    from lorakit.preview.models import build_transformer

    demo = write_demo_model(tmp_path)
    name = "blocks.3.mlp.layer1"
    generator = torch.Generator().manual_seed(0)
    up, down = (torch.randn(n, m, generator=generator) for n, m in ((512, 4), (4, 128)))
    adapter = memory_adapter({name: LoraModule(up, down, 0.1)})
    live = LiveFusion(demo.checkpoint, [adapter])
    weights = live.by_canonical_name()
    dtype = weights[f"{name}.weight"].dtype
    model = build_transformer(weights, device="cpu", dtype=dtype)
    parameter = model.transformer_blocks[3].ff.net[0].proj.weight
    pristine = parameter.detach().clone()
    live.set_strengths([0.8])
    assert model.transformer_blocks[3].ff.net[0].proj.weight is parameter
    assert not torch.equal(parameter, pristine)
    fused = lorakit.fuse(demo.checkpoint, [(adapter, 0.8)])
    torch.testing.assert_close(parameter.detach(), fused[f"{fused.prefix}{name}.weight"])
    live.unfuse()
    assert torch.equal(parameter, pristine)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", [None, "baddbmm"])
@pytest.mark.parametrize("mode", ["device", "host"])
def test_a_gpu_is_as_good_as_one_rounding(method, mode) -> None:
    base, stack = tiny_base(BLOCKS, dtype=torch.bfloat16), mixed_stack(3)
    adapters = [memory_adapter(modules) for modules in stack]
    live = LiveFusion(base, adapters, device="cuda", method=method, mode=mode)
    for strengths in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.8, -0.6, 1.3]):
        live.set_strengths(strengths)
    ours = {key: live.weights[key].cpu() for key in base}
    wanted = exact(base, stack, [0.8, -0.6, 1.3])
    error = sum(float((ours[k].double() - wanted[k]).square().sum()) for k in live.touched)
    ideal = sum(
        float((wanted[k].bfloat16().double() - wanted[k]).square().sum()) for k in live.touched
    )
    assert (error / ideal) ** 0.5 <= 1.02
    live.unfuse()
    assert all(torch.equal(live.weights[key].cpu(), base[key]) for key in base)
