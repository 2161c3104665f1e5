import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorakit.errors import BadFile, MissingComponent
from lorakit.preview import components as components_module
from lorakit.preview.components import (
    find_components,
    load_components,
    loading_components,
)
from lorakit.preview.session import open_session
from lorakit.preview.split_files import vae_names_to_diffusers

OFFLINE = """
from lorakit.errors import MissingComponent
from lorakit.preview.components import find_components
import sys
try:
    find_components({source!r})
except MissingComponent as error:
    print(error.message, "|", error.hint)
assert "torch" not in sys.modules
"""
INVERSE = [
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.norm1\.", ".residual.0."),
    (r"\.conv1\.", ".residual.2."),
    (r"\.norm2\.", ".residual.3."),
    (r"\.conv2\.", ".residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.down_blocks\.", ".downsamples."),
]


def wan_name(key: str, resnets: int) -> str:
    """A tensor of diffusers' Qwen-Image VAE as Wan's own checkpoint calls it."""
    match = re.match(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.", key)
    if match:
        within = int(match[3]) if match[2] == "resnets" else resnets
        index = int(match[1]) * (resnets + 1) + within
        key = f"decoder.upsamples.{index}.{key[match.end() :]}"
    for pattern, old in INVERSE:
        key = re.sub(pattern, old, key)
    return key


@pytest.fixture
def split(demo, tmp_path):
    """The demo's components as ComfyUI keeps them, with the tokenizers beside them."""
    (tmp_path / "text_encoders").mkdir()
    (tmp_path / "vae").mkdir()
    encoder = load_file(demo.components / "text_encoder" / "model.safetensors")
    save_file(
        {f"model.{key}": tensor for key, tensor in encoder.items()},
        tmp_path / "text_encoders" / "qwen_3_06b_base.safetensors",
    )
    (source,) = (demo.components / "vae").glob("*.safetensors")
    save_file(
        {wan_name(key, 2): tensor for key, tensor in load_file(source).items()},
        tmp_path / "vae" / "qwen_image_vae.safetensors",
    )
    for name in ("tokenizer", "t5_tokenizer"):
        shutil.copytree(demo.components / name, tmp_path / name)
    return tmp_path


def offline(source: str | None, home: Path, switch: str = "HF_HUB_OFFLINE") -> str:
    """What find_components says in a process of its own, without a network and without a cache."""
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE.format(source=source)],
        env={**os.environ, switch: "1", "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_diffusers_folder_is_found_part_by_part(demo):
    paths = find_components(demo.components)
    assert paths.text_encoder == demo.components / "text_encoder"
    assert paths.scheduler == demo.components / "scheduler"
    assert paths.text_conditioner == demo.components / "text_conditioner"
    assert find_components(str(demo.components)) == paths


def test_everything_missing_is_named_at_once_with_the_command(tmp_path):
    with pytest.raises(MissingComponent) as caught:
        find_components(tmp_path)
    for part in ("text encoder", "VAE", "Qwen tokenizer", "T5 tokenizer"):
        assert part in caught.value.message
    assert str(tmp_path) in caught.value.message
    hint = caught.value.hint or ""
    assert "hf download circlestone-labs/Anima-Base-v1.0-Diffusers --include" in hint
    for name in ("text_encoder", "vae", "tokenizer", "t5_tokenizer"):
        assert f'--include "{name}/*"' in hint


def test_only_what_is_missing_is_named(demo, tmp_path):
    folder = shutil.copytree(demo.components, tmp_path / "some")
    shutil.rmtree(folder / "vae")
    (folder / "t5_tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(MissingComponent) as caught:
        find_components(folder)
    assert "VAE" in caught.value.message
    assert "T5 tokenizer" in caught.value.message
    assert "text encoder" not in caught.value.message
    assert '"vae/*"' in (caught.value.hint or "")
    assert '"text_encoder/*"' not in (caught.value.hint or "")


@pytest.mark.parametrize("source", ["no-such-folder", "/no/such/folder", "a/b/c", ""])
def test_a_source_that_is_neither_folder_nor_repository(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingComponent):
        find_components(source)


def test_a_file_is_not_a_folder_of_components(demo):
    with pytest.raises(MissingComponent, match="is a file"):
        find_components(demo.checkpoint)


@pytest.mark.parametrize("source", [None, "someone/some-model"])
@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "LORAKIT_OFFLINE"])
def test_offline_without_a_cache_says_what_to_fetch(source, switch, tmp_path):
    said = offline(source, tmp_path, switch)
    assert f"{switch} is set: nothing was sent" in said
    assert "text encoder" in said
    assert "T5 tokenizer" in said
    assert f"hf download {source or 'circlestone-labs/Anima-Base-v1.0-Diffusers'}" in said
    assert str(tmp_path / "hub") in said


def test_a_repository_in_the_cache_serves_offline(demo, tmp_path):
    repository = tmp_path / "hub" / "models--someone--some-model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(demo.components, repository / "snapshots" / ("0" * 40))
    assert offline("someone/some-model", tmp_path) == ""
    # A part that is not in the cache is still named.
    shutil.rmtree(repository / "snapshots" / ("0" * 40) / "vae")
    said = offline("someone/some-model", tmp_path)
    assert "VAE" in said
    assert "text encoder" not in said


def test_split_files_load_as_the_same_models(split, components):
    from diffusers import AutoencoderKLQwenImage

    loaded = load_components(split, device="cpu")
    assert (loaded.scheduler.config.shift, loaded.min_sequence_length) == (3.0, 512)
    ids = components.tokenizer(["ink portrait"], return_tensors="pt").input_ids
    latents = torch.randn(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = components.text_encoder(ids).last_hidden_state
        assert torch.equal(loaded.text_encoder(ids).last_hidden_state, expected)
        expected = components.vae.decode(latents, return_dict=False)[0]
        assert torch.equal(loaded.vae.decode(latents, return_dict=False)[0], expected)
    # A file by itself cannot say how its latents are scaled, so it is taken for Anima's own VAE.
    assert dict(loaded.vae.config)["latents_std"] == AutoencoderKLQwenImage().config["latents_std"]


def test_split_files_without_tokenizers_ask_for_them_alone(split, tmp_path):
    shutil.rmtree(split / "tokenizer")
    shutil.rmtree(split / "t5_tokenizer")
    said = offline(str(split), tmp_path / "home")
    assert "Qwen tokenizer" in said
    assert "text encoder" not in said


def test_vae_names_agree_with_diffusers_own_conversion_at_full_size():
    from diffusers import AutoencoderKLQwenImage
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    from lorakit.preview.split_files import vae_config

    with torch.device("meta"):
        vae = AutoencoderKLQwenImage()
    original = {wan_name(key, 3): tensor for key, tensor in vae.state_dict().items()}
    assert "decoder.upsamples.4.shortcut.weight" in original
    ours = vae_names_to_diffusers(original)
    assert ours.keys() == convert_wan_vae_to_diffusers(dict(original)).keys()
    assert {k: t.shape for k, t in ours.items()} == {
        k: t.shape for k, t in vae.state_dict().items()
    }
    config = vae_config(ours)
    assert config == {key: vae.config[key] for key in config}


def test_the_text_encoders_sizes_at_full_size():
    from transformers import Qwen3Config, Qwen3Model

    from lorakit.preview.split_files import text_encoder_config

    real = {
        "vocab_size": 151936,
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "head_dim": 128,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "intermediate_size": 3072,
    }
    with torch.device("meta"):
        model = Qwen3Model(Qwen3Config(**real))
    read = text_encoder_config(model.state_dict())
    assert {key: read[key] for key in real} == real
    assert Qwen3Config(**read).rope_parameters["rope_theta"] == 1e6


@pytest.mark.parametrize(
    "damage",
    ["vae/config.json", "text_encoder/model.safetensors", "tokenizer/tokenizer.json"],
)
def test_a_damaged_part_is_an_error_of_that_file(demo, tmp_path, damage):
    folder = shutil.copytree(demo.components, tmp_path / "damaged")
    (folder / damage).write_bytes(b"not what it was")
    with pytest.raises(BadFile, match=damage.split("/")[0]) as caught:
        load_components(folder, device="cpu")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["text_encoders/qwen_3_06b_base", "vae/qwen_image_vae"])
def test_a_split_file_of_another_model_is_an_error_of_that_file(split, name):
    save_file({"something.weight": torch.zeros(2, 2)}, split / f"{name}.safetensors")
    with pytest.raises(BadFile):
        load_components(split, device="cpu")


def test_loading_goes_on_while_other_work_is_done(demo, components, monkeypatch):
    release = threading.Event()
    load = components_module._text_encoder

    def waiting(path: Path, device: str) -> object:
        release.wait(30)
        return load(path, device)

    monkeypatch.setattr(components_module, "_text_encoder", waiting)
    with loading_components(demo.components, device="cpu") as loading:
        assert not loading.done()
        release.set()
        assert loading.result().min_sequence_length == components.min_sequence_length


def test_parts_that_are_missing_are_told_before_anything_is_loaded(tmp_path):
    with (
        pytest.raises(MissingComponent, match="text encoder"),
        loading_components(tmp_path, device="cpu"),
    ):
        pytest.fail("the block was entered")


def test_a_damaged_part_is_told_when_the_result_is_asked_for(demo, tmp_path):
    folder = shutil.copytree(demo.components, tmp_path / "damaged")
    (folder / "vae" / "config.json").write_bytes(b"not what it was")
    with loading_components(folder, device="cpu") as loading:
        wait([loading])
        with pytest.raises(BadFile, match="VAE"):
            loading.result()


def test_an_error_of_the_stack_is_the_one_that_is_told_and_leaves_no_thread(demo, tmp_path):
    """A thread left behind would build models beside whatever comes next."""
    folder = shutil.copytree(demo.components, tmp_path / "damaged")
    (folder / "vae" / "config.json").write_bytes(b"not what it was")
    before = threading.active_count()
    with pytest.raises(BadFile, match="nowhere"):
        open_session(
            demo.checkpoint,
            [(tmp_path / "nowhere.safetensors", 1.0)],
            components=str(folder),
            device="cpu",
        )
    assert threading.active_count() == before
