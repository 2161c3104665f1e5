"""Graphs and records of ComfyUI, SwarmUI and InvokeAI, in the forms that they document."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lorakit.formats.comfyui import comfy_generation
from lorakit.formats.generation import Generation, UsedAdapter
from lorakit.formats.other_records import invoke_generation, swarm_generation


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


# The official Anima template, with two adapters between the loader and the sampler.
GRAPH = {
    "1": node("UNETLoader", unet_name="anima\\anima-base-v1.0.safetensors", weight_dtype="default"),
    "2": node("LoraLoader", lora_name="ink.safetensors", strength_model=0.8, strength_clip=0.5,
              model=["1", 0], clip=["9", 0]),
    "3": node("LoraLoaderModelOnly", lora_name="styles/wash.safetensors", strength_model=-0.25,
              model=["2", 0]),
    "4": node("ModelSamplingAuraFlow", shift=2.5, model=["3", 0]),
    "5": node("CLIPTextEncode", text="@ink, a lighthouse", clip=["2", 1]),
    "6": node("CLIPTextEncode", text=["20", 0], clip=["2", 1]),
    "7": node("EmptyLatentImage", width=832, height=1216, batch_size=1),
    "8": node("KSampler", seed=42, steps=28, cfg=4.5, sampler_name="er_sde", scheduler="simple",
              denoise=1.0, model=["4", 0], positive=["5", 0], negative=["6", 0],
              latent_image=["7", 0]),
    "9": node("CLIPLoader", clip_name="qwen_3_06b_base.safetensors", type="qwen"),
    "20": node("PrimitiveString", value="blurry"),
}  # fmt: skip


def read(graph: object) -> Generation:
    made = comfy_generation(json.dumps(graph), None)
    assert made is not None
    return made


def test_an_executed_graph_is_followed_from_its_sampler() -> None:
    made = read(GRAPH)
    assert made == Generation(
        program="ComfyUI",
        prompt="@ink, a lighthouse",
        negative_prompt="blurry",
        steps=28,
        cfg=4.5,
        seed=42,
        width=832,
        height=1216,
        shift=2.5,
        base_name="anima-base-v1.0",
        adapters=(
            UsedAdapter("ink", arguments=("te=0.5", "unet=0.8")),
            UsedAdapter("wash", arguments=("-0.25",)),
        ),
        left_out=made.left_out,
    )
    assert len(made.left_out) == 1
    assert "er_sde with the schedule simple" in made.left_out[0]


def test_an_adapter_that_is_not_on_the_way_to_the_sampler_is_not_used() -> None:
    graph = {**GRAPH, "30": node("LoraLoaderModelOnly", lora_name="unused.safetensors",
                                 strength_model=1.0, model=["1", 0])}  # fmt: skip
    assert [adapter.name for adapter in read(graph).adapters] == ["ink", "wash"]


def test_the_second_pass_of_a_hires_fix_is_not_the_one_that_is_read() -> None:
    graph = {
        "70": node("KSampler", seed=1, steps=12, cfg=2.0, sampler_name="euler", scheduler="simple",
                   denoise=0.4, model=["4", 0], positive=["5", 0], negative=["6", 0],
                   latent_image=["71", 0]),
        "71": node("LatentUpscaleBy", samples=["8", 0], scale_by=1.5),
        **GRAPH,
    }  # fmt: skip
    made = read(graph)
    assert (made.steps, made.seed, made.denoise) == (28, 42, None)
    assert any("first sampler" in sentence for sentence in made.left_out)


def test_a_sampler_whose_settings_stand_on_other_nodes() -> None:
    graph = {**GRAPH}
    del graph["8"]
    graph |= {
        "40": node("SamplerCustomAdvanced", noise=["41", 0], guider=["42", 0], sampler=["43", 0],
                   sigmas=["44", 0], latent_image=["7", 0]),
        "41": node("RandomNoise", noise_seed=2**64 - 1),
        "42": node("CFGGuider", cfg=3.0, model=["4", 0], positive=["45", 0], negative=["45", 1]),
        "43": node("KSamplerSelect", sampler_name="euler"),
        "44": node("BasicScheduler", scheduler="simple", steps=24, denoise=1.0, model=["4", 0]),
        "45": node("ControlNetApplyAdvanced", strength=1.0, positive=["5", 0], negative=["6", 0]),
    }  # fmt: skip
    made = read(graph)
    assert (made.steps, made.cfg, made.seed) == (24, 3.0, 2**64 - 1)
    assert (made.prompt, made.negative_prompt) == ("@ink, a lighthouse", "blurry")
    assert made.left_out == ()


def test_loaders_of_several_adapters() -> None:
    manager = [
        {"name": "glow", "strength": "0.7", "clipStrength": "0.7", "active": True},
        {"name": "off", "strength": 1, "active": False},
    ]
    graph = deepcopy(GRAPH)
    graph["2"] = node("Lora Loader (LoraManager)", loras={"__value__": [manager]}, model=["1", 0])
    graph["3"] = node(
        "Power Lora Loader (rgthree)",
        lora_1={"on": True, "lora": "fog.safetensors", "strength": 0.3, "strengthTwo": None},
        lora_2={"on": False, "lora": "no.safetensors", "strength": 1.0},
        model=["2", 0],
    )
    assert read(graph).adapters == (
        UsedAdapter("glow", arguments=("0.7",)),
        UsedAdapter("fog", arguments=("0.3",)),
    )


def test_a_loader_that_is_not_understood_is_named() -> None:
    graph = {**GRAPH, "3": node("My LoRA Stack", model=["2", 0])}
    made = read(graph)
    assert [adapter.name for adapter in made.adapters] == ["ink"]
    assert any("My LoRA Stack" in sentence for sentence in made.left_out)


def test_an_editors_graph_tells_the_same() -> None:
    def edited(number: int, kind: str, widgets: list[Any], mode: int = 0, **links: int) -> Any:
        slots = [{"name": name, "type": "*", "link": link} for name, link in links.items()]
        return {
            "id": number,
            "type": kind,
            "mode": mode,
            "inputs": slots,
            "widgets_values": widgets,
        }

    workflow = {
        "nodes": [
            edited(1, "CheckpointLoaderSimple", ["rdbt.safetensors"]),
            edited(2, "LoraLoader", ["ink.safetensors", 0.8, 0.8], model=10),
            edited(3, "LoraLoader", ["off.safetensors", 1.0, 1.0], mode=4, model=11),
            edited(4, "CLIPTextEncode", ["a sea"]),
            edited(5, "CLIPTextEncode", [""]),
            edited(6, "EmptyLatentImage", [512, 768, 1]),
            edited(7, "KSampler", [9, "randomize", 20, 1.0, "euler", "simple", 1.0],
                   model=12, positive=13, negative=14, latent_image=15),
        ],
        "links": [[10, 1, 0, 2, 0, "MODEL"], [11, 2, 0, 3, 0, "MODEL"], [12, 3, 0, 7, 0, "MODEL"],
                  [13, 4, 0, 7, 1, "C"], [14, 5, 0, 7, 2, "C"], [15, 6, 0, 7, 3, "LATENT"]],
        "version": 0.4,
    }  # fmt: skip
    made = comfy_generation(None, json.dumps(workflow))
    assert made == Generation(
        program="ComfyUI",
        prompt="a sea",
        steps=20,
        cfg=1.0,
        seed=9,
        width=512,
        height=768,
        base_name="rdbt",
        adapters=(UsedAdapter("ink", arguments=("0.8",)),),
    )


def test_swarmuis_record() -> None:
    params = {
        "prompt": "a sea <lora:styleA:0.4>",
        "negativeprompt": "feet",
        "model": "folder/realDream_animaV2",
        "seed": "1755497345",
        "steps": 16,
        "cfgscale": 2.0,
        "width": 1248,
        "height": 1824,
        "sampler": "euler",
        "scheduler": "simple",
        "sigmashift": 3,
        "loras": ["styleA", "turbo-v0.2"],
        "loraweights": ["0.4", "0.7"],
        "swarm_version": "0.9.8.1",
    }
    models = [
        {
            "name": "folder/realDream_animaV2.safetensors",
            "param": "model",
            "hash": "0x84FC41EA0821",
        },
        {"name": "styleA.safetensors", "param": "loras", "hash": "0xe8055d97ec312203"},
    ]
    made = swarm_generation(json.dumps({"sui_image_params": params, "sui_models": models}))
    assert made == Generation(
        program="SwarmUI",
        prompt="a sea",
        negative_prompt="feet",
        steps=16,
        cfg=2.0,
        seed=1755497345,
        width=1248,
        height=1824,
        shift=3.0,
        base_name="realDream_animaV2",
        base_hash="84fc41ea0821",
        adapters=(
            UsedAdapter("styleA", ("e8055d97ec312203",), ("0.4",)),
            UsedAdapter("turbo-v0.2", (), ("0.7",)),
        ),
    )
    commas = {**params, "loras": "styleA, turbo-v0.2", "loraweights": "0.4,0.7"}
    again = swarm_generation(json.dumps({"sui_image_params": commas, "sui_models": models}))
    assert again == made
    assert swarm_generation("a sea\nSteps: 1") is None


def test_invokeais_record() -> None:
    sha256 = "ab" * 32
    record = {
        "app_version": "5.6.0",
        "generation_mode": "flux_txt2img",
        "positive_prompt": "a sea",
        "negative_prompt": "",
        "width": 1024,
        "height": 768,
        "seed": 7,
        "cfg_scale": 3.5,
        "steps": 30,
        "scheduler": "dpmpp_2m",
        "model": {
            "key": "k",
            "hash": "blake3:aabb",
            "name": "Anima",
            "base": "any",
            "type": "main",
        },
        "loras": [
            {"model": {"name": "ink", "hash": "blake3:0123"}, "weight": 0.75},
            {"model": {"name": "wash", "hash": f"sha256:{sha256}"}, "weight": 1},
        ],
        "hrf_enabled": True,
    }
    made = invoke_generation(json.dumps(record))
    assert made is not None
    assert (made.program, made.prompt, made.base_name, made.base_hash) == (
        "InvokeAI",
        "a sea",
        "Anima",
        "",
    )
    assert made.adapters == (
        UsedAdapter("ink", (), ("0.75",)),
        UsedAdapter("wash", (sha256,), ("1.0",)),
    )
    assert (made.steps, made.cfg, made.seed, made.width, made.height) == (30, 3.5, 7, 1024, 768)
    assert "dpmpp_2m" in made.left_out[0]
    assert "hires fix" in made.left_out[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["model", "positive", "seed", "width", "lora_name", "text", "loras", "latent_image", "steps"]
)


@given(
    st.dictionaries(st.sampled_from("1234"), st.dictionaries(KEYS, JSON, max_size=6), max_size=4)
)
def test_no_graph_is_too_odd_to_read(nodes: dict[str, dict[str, Any]]) -> None:
    graph = {
        key: node("KSampler", **{"latent_image": 1, **inputs}) for key, inputs in nodes.items()
    }
    comfy_generation(json.dumps(graph), None)
    workflow = {"nodes": [{"id": key, **value} for key, value in nodes.items()], "links": [[1] * 6]}
    comfy_generation(None, json.dumps(workflow))


@given(st.dictionaries(KEYS | st.sampled_from(["sampler", "scheduler", "hash", "weight"]), JSON))
def test_no_record_is_too_odd_to_read(record: dict[str, Any]) -> None:
    swarm_generation(json.dumps({"sui_image_params": record, "sui_models": [record]}))
    invoke_generation(json.dumps({"generation_mode": "x", **record, "loras": [record]}))


def test_a_graph_that_leads_back_to_itself_ends() -> None:
    graph = {
        "1": node("LoraLoader", lora_name="a", strength_model=1, model=["1", 0]),
        "2": node("X", value=["2", 0], text=["2", 0], positive=["2", 0]),
        "3": node("KSampler", seed=["2", 0], steps=1, model=["1", 0], positive=["2", 0],
                  latent_image=["3", 0]),
    }  # fmt: skip
    made = read(graph)
    assert made.seed is None
