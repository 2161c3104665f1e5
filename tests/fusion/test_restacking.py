"""Both ways of holding one stack after another, on the CPU and on a card: one weight's rounding apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lorakit.adapters.adapter import Adapter
from lorakit.adapters.dora import DoraModule
from lorakit.fusion.base import open_base
from lorakit.fusion.restacking import Stacked, hold_stacks, plan_stack
from lorakit.strengths import Strength
from tests.models import memory_adapter, random_lora, tiny_base, usual_names

NAMES = usual_names(3)
GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)


def adapters(base: dict[str, torch.Tensor]) -> list[Adapter]:
    plain = memory_adapter(random_lora(NAMES, 3, rank=3))
    other = memory_adapter(random_lora(NAMES[:8], 3, rank=5, seed=1))
    few = random_lora(NAMES[2:4], 3, seed=2)
    dora = {
        name: DoraModule(module, base[f"net.{name}.weight"].float().norm(dim=1) * 1.1, name)
        for name, module in few.items()
    }
    return [plain, other, replace(memory_adapter(few), modules=dora)]


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_two_ways_to_the_same_weights(device: str, dtype: torch.dtype) -> None:
    tensors = tiny_base(dtype=dtype)
    base = open_base(tensors)
    plain, other, dora = library = adapters(tensors)
    halves = Strength.of(0.5, blocks={"0": 2})
    stacks: list[Stacked] = [
        [(plain, Strength(0.8))],
        [(dora, Strength(0.7)), (other, halves), (plain, Strength(-0.2))],
        [(other, Strength(0.3)), (other, Strength(0.3))],
        [],
    ]
    live, rewritten = (
        hold_stacks(base, library, device=device, held=dtype, engine=engine)
        for engine in ("live", "rewrite")
    )
    assert "one at a time" not in live.reason
    found = [way.start(plan_stack(base, stacks[0]), stacks[0]) for way in (live, rewritten)]
    for stack in [*stacks, stacks[1]]:
        plan = plan_stack(base, stack)
        for way, weights in zip((live, rewritten), found, strict=True):
            for name, tensor in way.change(plan, stack):
                weights[name] = tensor.clone()
            assert not list(way.change(plan, stack)), "nothing differs a second time"
        one, two = found
        assert one.keys() == two.keys()
        step = 2**-7 if dtype == torch.bfloat16 else 1e-5
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], rtol=step, atol=1e-6, msg=name)
            if not stack:
                assert torch.equal(tensor.cpu(), tensors[base.names[name]]), name


def test_a_consumer_that_breaks_off_gets_the_rest_the_next_time() -> None:
    base = open_base(tiny_base())
    (plain, *_) = library = adapters(tiny_base())
    stack: Stacked = [(plain, Strength(0.8))]
    plan = plan_stack(base, stack)
    for engine in ("live", "rewrite"):
        way = hold_stacks(base, library, device="cpu", held=torch.float32, engine=engine)
        way.start(plan_stack(base, []), [])
        changes = way.change(plan, stack)
        first = next(changes)[0]
        del changes
        again = {name for name, _ in way.change(plan, stack)}
        assert first in again
        assert again == {f"{name}.weight" for name in NAMES}
