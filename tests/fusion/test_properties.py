"""What holds of any stack: algorithms, strengths and dtypes are drawn, files are fused as users do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import lorakit
from lorakit.adapters.adapter import Adapter
from lorakit.fusion.live import LiveFusion

STEM = "diffusion_model.blocks.0.mlp.layer1"
KEY = "net.blocks.0.mlp.layer1.weight"
OUT, IN, RANK = 24, 16, 2
Draw = Callable[..., torch.Tensor]

# Shapes of each algorithm's parts, for a weight of (24, 16).
PARTS: dict[str, dict[str, tuple[int, ...]]] = {
    "lora": {"lora_A.weight": (RANK, IN), "lora_B.weight": (OUT, RANK)},
    "dora": {"lora_A.weight": (RANK, IN), "lora_B.weight": (OUT, RANK), "dora_scale": (OUT, 1)},
    "loha": {
        **{f"hada_w{i}_a": (OUT, RANK) for i in (1, 2)},
        **{f"hada_w{i}_b": (RANK, IN) for i in (1, 2)},
    },
    "lokr": {"lokr_w1": (4, 4), "lokr_w2_a": (6, RANK), "lokr_w2_b": (RANK, 4)},
    "dokr": {"lokr_w1": (4, 4), "lokr_w2": (6, 4), "dora_scale": (1, IN)},
    "glora": {
        "a1.weight": (IN, RANK),
        "a2.weight": (RANK, IN),
        "b1.weight": (OUT, RANK),
        "b2.weight": (RANK, IN),
    },
    "tlora": {
        "q_layer.weight": (RANK, IN),
        "p_layer.weight": (OUT, RANK),
        "lambda_layer": (1, RANK),
    },
    "oft": {"oft_blocks": (6, 4, 4)},
    "boft": {"oft_blocks": (2, 6, 4, 4), "rescale": (OUT, 1)},
    "oftv2": {"oft_R.weight": (4, 6)},
    "ia3": {"weight": (IN,), "on_input": ()},
    "full": {"diff": (OUT, IN)},
    "set": {"set_weight": (OUT, IN)},
    "lora and full": {"lora_A.weight": (RANK, IN), "lora_B.weight": (OUT, RANK), "diff": (OUT, IN)},
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Each side of a half must be a number as well, so the smallest are left to 0 itself.
STRENGTHS = st.sampled_from([1.0, -1.0, 100.0, -100.0, 1e-6, -1e-30, 0.5]) | st.floats(
    -100, 100
).filter(lambda s: s == 0 or abs(s) > 1e-300)
MODERATE = st.floats(-2, 2).filter(lambda s: s == 0 or abs(s) > 1e-300)
ALGOS = st.sampled_from(sorted(PARTS))


@cache
def adapter(algo: str, seed: int = 0) -> Adapter:
    """An adapter read from a file, with one module of `algo`."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"{STEM}.{part}": torch.randn(shape, generator=generator) * 0.2
        for part, shape in PARTS[algo].items()
    }
    if algo == "ia3":
        tensors[f"{STEM}.on_input"] = torch.tensor(True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{algo.replace(' ', '-')}-{seed}.safetensors"
        save_file(tensors, path)
        return lorakit.load_adapter(path)


@cache
def base(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    shapes = {KEY: (OUT, IN), "net.blocks.0.self_attn.q_proj.weight": (8, 8)}
    shapes["net.llm_adapter.blocks.0.cross_attn.q_proj.weight"] = (4, 4)
    return {
        key: (torch.randn(shape, generator=generator) * 0.5).to(dtype)
        for key, shape in shapes.items()
    }


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def fused(stack: list[tuple[Adapter, float]], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return lorakit.fuse(base(dtype), stack)[KEY]


def reach(stack: list[tuple[Adapter, float]]) -> float:
    """The size of the largest sum on the way: what float32 rounds relative to."""
    weight = base(torch.float32)[KEY]
    each = sum(
        abs(strength) * float((fused([(item, 1.0)]) - weight).norm()) for item, strength in stack
    )
    return float(weight.norm()) + each


ENTRIES = st.tuples(ALGOS, st.integers(0, 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(ENTRIES, MODERATE), min_size=2, max_size=4), st.randoms())
def test_the_order_of_a_stack_does_not_matter(
    drawn: list[tuple[tuple[str, int], float]], random
) -> None:
    stack = [(adapter(*entry), strength) for entry, strength in drawn]
    shuffled = stack[:]
    random.shuffle(shuffled)
    assert (fused(stack) - fused(shuffled)).norm() <= 1e-6 * reach(stack)


@settings(max_examples=50, deadline=None)
@given(ALGOS, STRENGTHS)
def test_an_adapter_and_its_opposite_cancel(algo: str, strength: float) -> None:
    stack = [(adapter(algo), strength), (adapter(algo), -strength)]
    weight = base(torch.float32)[KEY]
    assert (fused(stack) - weight).norm() <= 1e-6 * reach(stack)


@settings(max_examples=50, deadline=None)
@given(ALGOS, STRENGTHS, st.sampled_from([0.5, 0.25, -1.0, 3.0]))
def test_an_entry_in_two_parts_is_the_entry(algo: str, strength: float, share: float) -> None:
    share = share if abs(strength * share) <= 50 else 0.5
    parts = [(adapter(algo), strength * share), (adapter(algo), strength * (1 - share))]
    whole = [(adapter(algo), strength)]
    assert (fused(parts) - fused(whole)).norm() <= 1e-6 * reach(parts)


@settings(max_examples=50, deadline=None)
@given(ALGOS, STRENGTHS)
def test_what_strength_multiplies_is_the_same_change(algo: str, strength: float) -> None:
    weight = base(torch.float64)[KEY]
    one, many = (fused([(adapter(algo), s)], torch.float64) - weight for s in (1.0, strength))
    assert one.norm() > 0.001 * weight.norm()
    assert (many - strength * one).norm() <= 1e-13 * (
        weight.norm() + abs(strength) * (one.norm() + weight.norm())
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=3), st.sampled_from(DTYPES))
def test_strength_0_leaves_every_byte(entries: list[tuple[str, int]], dtype: torch.dtype) -> None:
    stack = [
        (adapter(*entry), zero) for entry, zero in zip(entries, (0.0, -0.0, 0.0), strict=False)
    ]
    got = lorakit.fuse(base(dtype), stack)
    assert got.touched == frozenset()
    assert {key: bits(got[key]) for key in got} == {k: bits(t) for k, t in base(dtype).items()}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(ENTRIES, STRENGTHS), min_size=1, max_size=3), st.sampled_from(DTYPES))
def test_fusing_and_taking_off_again_restores_every_byte(
    drawn: list[tuple[tuple[str, int], float]], dtype: torch.dtype
) -> None:
    pristine = {key: tensor.clone() for key, tensor in base(dtype).items()}
    strengths = [strength for _, strength in drawn]
    lorakit.fuse(base(dtype), [(adapter(*entry), strength) for entry, strength in drawn])
    assert {k: bits(t) for k, t in base(dtype).items()} == {k: bits(t) for k, t in pristine.items()}
    with LiveFusion(base(dtype), [adapter(*entry) for entry, _ in drawn]) as live:
        live.set_strengths(strengths)
        live.unfuse()
        assert all(bits(live.weights[key]) == bits(pristine[key]) for key in live.weights)
