"""`lorakit.inspect` on keys of every kind with tensors of every shape: a report, or BadFile."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lorakit
from lorakit.errors import BadFile
from lorakit.formats.parts import SUFFIXES
from tests.factories import ANIMA_SHAPES, DTYPE_BYTES, LAYOUTS, Payload, write_safetensors, zeros

PREFIXES = (
    *("", "net.", "model.diffusion_model.", "diffusion_model.", "diffusion_model.core."),
    *("transformer.", "transformer.core.", "text_conditioner.", "text_encoder.", "lora_unet_"),
    *("lora_unet_net_", "lora_te_", "lora_te1_", "lycoris_", "lycoris_core_", "base_model.model."),
    *("base_model.model.transformer.", "text_encoders.qwen3_06b.transformer.model.", "_orig_mod."),
)
modules = st.sampled_from(
    [
        *list(ANIMA_SHAPES)[::40],
        *("blocks_0_mlp_layer1", "layers.0.self_attn.q_proj", "layers_3_mlp_up_proj"),
        *("transformer_blocks.0.attn1.to_q", "transformer_blocks_2_ff_net_2", "x", ""),
        *("blocks.9999.mlp.layer1", "blocks.99999.mlp.layer1", f"blocks.{'1' * 5000}.mlp.layer1"),
    ]
)
known_keys = st.builds(
    lambda layout, module, suffix: f"{LAYOUTS[layout](module)}.{suffix}",
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(list(ANIMA_SHAPES)[::80]),
    st.sampled_from(list(SUFFIXES)),
)
odd_keys = st.builds(
    lambda prefix, module, mark, suffix: f"{prefix}{module}{mark}.{suffix}",
    st.sampled_from(PREFIXES),
    modules,
    st.sampled_from(["", ".default", "._orig_mod", "."]),
    st.sampled_from([*SUFFIXES, "lora_A", "lora_A.default.weight", "weight.weight", ""]),
)
shapes = st.lists(st.integers(0, 3), max_size=4)


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    dtype, shape, _ = zeros(draw(st.sampled_from(list(DTYPE_BYTES))), draw(shapes))
    size = DTYPE_BYTES[dtype]
    for length in shape:
        size *= length
    return dtype, shape, draw(st.binary(min_size=size, max_size=size))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
peft_configs = st.dictionaries(
    st.sampled_from(
        ["lora_alpha", "transformer.lora_alpha", "alpha_pattern", "transformer.alpha_pattern"]
    ),
    json_values
    | st.dictionaries(st.text("blocks.(a+)*$[]{9&-", max_size=20), json_values, max_size=3),
)
metadata = st.dictionaries(
    st.sampled_from(
        ["lora_adapter_metadata", "ss_tag_frequency", "software", "modelspec.trigger_phrase"]
    ),
    st.text() | (json_values | peft_configs).map(json.dumps),
    max_size=3,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file.safetensors"


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(known_keys | odd_keys, payloads(), max_size=8), metadata)
@example(
    dict.fromkeys(
        (f"transformer.transformer_blocks.0.attn1.to_q.lora_{x}.weight" for x in "AB"),
        zeros("F32", [1, 1]),
    ),
    {"lora_adapter_metadata": json.dumps({"lora_alpha": 10**400})},
)
def test_any_adapter_gives_a_report_that_is_json(
    path: Path, tensors: dict[str, Payload], metadata: dict[str, str]
) -> None:
    write_safetensors(path, tensors, metadata)
    report = lorakit.inspect(path, hashes=False)
    # Strict JSON, and text that a terminal or a database takes.
    json.dumps(report.to_dict(), allow_nan=False, ensure_ascii=False).encode()
    named = {key for key in tensors if key in report.unused_keys}
    parts = sum(len(module.parts) for module in report.modules)
    assert parts + len(named) == len(tensors)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100))
def test_any_file_gives_a_report_or_a_bad_file(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    # Only BadFile is caught, so any other exception fails the test.
    with suppress(BadFile):
        assert lorakit.inspect(path).modules == ()
