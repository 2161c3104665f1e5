"""Strengths that depend on the step: the live model has the weights of each step, and no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import lorakit
from lorakit.preview.demo_model import write_demo_adapters
from lorakit.preview.session import Session, open_session
from lorakit.preview.settings import RenderSettings
from lorakit.strengths import Strength

SMALL = RenderSettings("ink portrait", width=64, height=64, steps=4)
KEY = "blocks.5.mlp.layer1.weight"


@pytest.fixture(scope="module")
def adapters(demo, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    write_demo_adapters(folder)
    return sorted(folder.glob("*.safetensors"))[:2]


def opened(demo, *entries: tuple[Path, float | Strength]) -> Session:
    return open_session(demo.checkpoint, entries, components=str(demo.components), device="cpu")


def picture(session: Session) -> bytes:
    return np.asarray(session.renderer.render(SMALL)).tobytes()


def test_the_weights_of_a_step_are_those_of_a_plain_fuse(demo, adapters) -> None:
    one, two = adapters
    entries = [(one, Strength.of(0.8, steps="1-2")), (two, Strength.of(0.5, blocks={"0-2": 0}))]
    session = opened(demo, *entries)
    live = session.renderer.live_tensors()
    for step in (0, 1, 2, 3, 1, 0):
        session.renderer.before_step(step)
        fused = lorakit.fuse(demo.checkpoint, [(path, s.at_step(step)) for path, s in entries])
        for name, tensor in fused.by_canonical_name().items():
            assert torch.equal(live[name], tensor.to(live[name].dtype)), (step, name)


def test_a_schedule_over_every_step_is_the_plain_picture(demo, adapters) -> None:
    always = opened(demo, (adapters[0], Strength.of(0.8, steps="0-")))
    assert picture(always) == picture(opened(demo, (adapters[0], 0.8)))


def test_steps_change_the_picture_and_a_second_one_starts_afresh(demo, adapters) -> None:
    late = opened(demo, (adapters[0], Strength.of(0.8, steps="2-")))
    first = picture(late)
    assert first == picture(late)
    assert len({first, picture(opened(demo, (adapters[0], 0.8))), picture(opened(demo))}) == 3


def test_the_base_is_never_written_to(demo, adapters) -> None:
    before = load_file(demo.checkpoint)
    picture(opened(demo, (adapters[0], Strength.of(0.8, steps="1-2"))))
    after = load_file(demo.checkpoint)
    assert all(torch.equal(before[key], after[key]) for key in before)
