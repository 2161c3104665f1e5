"""The forms that resident factors take, and the script that times them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lorakit.adapters.adapter import LowRank
from lorakit.fusion.live_factors import split_down, split_up, stack_factors
from lorakit.fusion.live_groups import Group

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_split_factors_lose_nothing_that_counts(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    up, down = (torch.randn(2, n, m, generator=generator).to(dtype) for n, m in ((24, 8), (8, 40)))
    coefficients = torch.rand(2, 8, generator=generator) * 1.7
    joined, sections = split_down(down, torch.bfloat16)
    assert sections == (2 if dtype == torch.bfloat16 else 3)
    scaled = torch.empty(2, 24, 8 * sections, dtype=torch.bfloat16)
    split_up(up, coefficients, scaled)
    wanted = (up.double() * coefficients.double().unsqueeze(1)) @ down.double()
    got = scaled.double() @ joined.double()
    assert float((got - wanted).norm() / wanted.norm()) < 2e-5


def test_half_factors_keep_eleven_bits_whatever_their_range() -> None:
    generator = torch.Generator().manual_seed(0)
    up = torch.randn(24, 8, generator=generator) * torch.logspace(-9, 9, 8)
    down = torch.randn(8, 40, generator=generator) * torch.logspace(7, -10, 8).unsqueeze(1)
    group = Group("", ("a",), (24, 40), torch.bfloat16, {(0, 0): LowRank(up, down, 3e4)}, {})
    made = stack_factors(group, torch.device("cpu"), "fused")
    scaled = (made.up[0].float() * (made.scale[0] * 0.7)).half().double()
    got = made.unit[0].double() * (scaled @ made.down[0].double())
    wanted = 0.7 * 3e4 * (up.double() @ down.double())
    assert float((got - wanted).norm() / wanted.norm()) < 5e-4


def test_the_benchmark_runs_on_a_small_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "bench/gpu_fuse.py", "--tiny", "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OUT": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu_fuse.json").read_text())
    assert report["failures"] == {}
    assert report["re-weight"]["error"]["worst"] <= 1.02
    assert report["re-weight"]["error"]["restored"]
    assert "| re-weight |" in done.stdout
    assert (tmp_path / "gpu_fuse.md").read_text() == done.stdout


def test_the_benchmark_claims_nothing_without_a_gpu() -> None:
    done = subprocess.run(
        [sys.executable, "bench/gpu_fuse.py"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout == "No CUDA device is in reach; nothing was measured.\n"
