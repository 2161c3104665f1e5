import os
import subprocess
import sys

import pytest
import torch

from lorakit.preview.torchvision_shim import nearest_resize, supply_nearest_resize

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')\n"
IMPORT_ALL = """
from lorakit.preview.torchvision_shim import supply_nearest_resize
supply_nearest_resize()
from diffusers.models.transformers import transformer_cosmos
from diffusers.modular_pipelines.anima import AnimaAutoBlocks
from diffusers import AutoencoderKLQwenImage
from transformers import Qwen3Model
transforms = transformer_cosmos.transforms
import torch
mask = torch.zeros(1, 1, 32, 32)
nearest = transforms.InterpolationMode.NEAREST
assert transforms.functional.resize(mask, [4, 4], interpolation=nearest).shape == (1, 1, 4, 4)
"""


def test_resize_takes_the_nearest_pixel_at_the_lower_edge():
    source = torch.arange(6 * 9, dtype=torch.float32).reshape(1, 1, 6, 9)
    rows, columns = [0, 1, 3, 4], [0, 1, 3, 5, 7]  # floor(i * 6 / 4), floor(i * 9 / 5)
    assert torch.equal(nearest_resize(source, [4, 5]), source[:, :, rows][:, :, :, columns])


def test_resize_up_repeats_and_keeps_the_dtype():
    source = torch.tensor([[[[1.0, 2.0]]]], dtype=torch.bfloat16)
    expected = torch.tensor([[[[1.0, 1.0, 2.0, 2.0]] * 2]], dtype=torch.bfloat16)
    resized = nearest_resize(source, [2, 4])
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, expected)


def test_another_interpolation_is_not_passed_off_as_nearest():
    with pytest.raises(NotImplementedError, match="bilinear"):
        nearest_resize(torch.zeros(1, 1, 2, 2), [4, 4], "bilinear")


def test_supplying_twice_does_no_harm():
    supply_nearest_resize()
    supply_nearest_resize()
    from diffusers.models.transformers import transformer_cosmos

    nearest = transformer_cosmos.transforms.InterpolationMode.NEAREST
    resized = transformer_cosmos.transforms.functional.resize(
        torch.ones(1, 1, 32, 16), [4, 2], interpolation=nearest
    )
    assert resized.shape == (1, 1, 4, 2)


@pytest.mark.slow
def test_a_torchvision_that_does_not_import_is_passed_over(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN)
    info = tmp_path / "torchvision-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 99.0\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
