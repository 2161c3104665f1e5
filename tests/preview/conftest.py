"""The demo model, written and opened once for all preview tests."""

from __future__ import annotations

import gc

import pytest
from safetensors.torch import load_file

from lorakit.preview.components import load_components
from lorakit.preview.demo_model import write_demo_model
from lorakit.preview.pipeline import Renderer
from lorakit.preview.session import open_session


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    model = write_demo_model(tmp_path_factory.mktemp("demo"))
    # Loads every library that rendering needs. Sessions collect garbage when they are closed, which
    # takes half a second with these in sight.
    open_session(model.checkpoint, [], components=str(model.components), device="cpu")
    gc.collect()
    gc.freeze()
    return model


@pytest.fixture(scope="session")
def weights(demo):
    return load_file(demo.checkpoint)


@pytest.fixture(scope="session")
def components(demo):
    return load_components(demo.components, device="cpu")


@pytest.fixture(scope="session")
def renderer(weights, components):
    return Renderer.open(weights, components, device="cpu")
