import math
import subprocess
import sys

import pytest

from lorakit.errors import BadUsage, LorakitError
from lorakit.preview.devices import choose_device
from lorakit.preview.settings import RenderSettings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"width": 1000}, "1000"),
        ({"height": 0}, "0"),
        ({"width": -16}, "-16"),
        ({"height": 2064}, "2064"),
        ({"steps": 0}, "0"),
        ({"cfg": 0.5}, "0.5"),
        ({"cfg": math.nan}, "nan"),
        ({"cfg": math.inf}, "inf"),
        ({"shift": 0.0}, "0.0"),
        ({"seed": -1}, "-1"),
        ({"seed": 2**63}, str(2**63)),
    ],
)
def test_a_value_out_of_range_is_named_with_what_would_do(wrong, named):
    with pytest.raises(BadUsage, match=named) as caught:
        RenderSettings("ink", **wrong)
    assert caught.value.hint


def test_the_nearest_size_is_offered():
    with pytest.raises(BadUsage) as caught:
        RenderSettings("ink", width=1000)
    assert "992" in (caught.value.hint or "")


def test_the_edges_and_an_empty_prompt_are_allowed():
    RenderSettings("", width=16, height=2048, steps=1, cfg=1.0, seed=2**63 - 1)


def test_the_early_modules_import_no_torch():
    modules = ("settings", "devices", "component_paths", "components")
    code = "".join(f"import lorakit.preview.{name}\n" for name in modules)
    code += (
        "import sys; heavy = {'torch', 'numpy', 'diffusers', 'transformers', 'huggingface_hub'}\n"
    )
    code += "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_cuda_then_mps_then_cpu(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert choose_device(None) == chosen
    assert choose_device("auto") == chosen


def test_an_explicit_device_is_taken_or_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("cpu") == "cpu"
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(LorakitError, match="cuda:2") as caught:
        choose_device("cuda:2")
    assert not isinstance(caught.value, BadUsage)
    assert caught.value.hint


@pytest.mark.parametrize("word", ["gpu", "cuda:x", "cpu:0", "", "cuda:-1"])
def test_a_word_that_is_no_device_is_bad_usage(word):
    with pytest.raises(BadUsage):
        choose_device(word)
