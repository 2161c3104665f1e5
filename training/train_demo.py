"""Train the demo model from nothing: `python -m training.train_demo --out FOLDER`.

About two hours on two CPU cores, minutes on a GPU. It can be stopped at any time and goes on where it
stopped when it is called again with the same folder.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lorakit.preview.quiet import quiet_libraries
from lorakit.preview.torchvision_shim import supply_nearest_resize
from training.adapters import train_distilled, train_style
from training.fitting import Course, Run
from training.flow import Pool, train_flow
from training.models import make_vae
from training.pictures import drawn, mixed, prompts, scenes
from training.plans import DISTILLED, GUIDANCE, STYLE_PLANS
from training.scenes import prompt_of
from training.ship import write_adapter, write_base, write_components
from training.styles import STYLES
from training.text import TextPath, make_text_path
from training.vae import normalised, train_vae

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

VAE_COURSE = Course(steps=6000, rate=2e-3, warm_up=30, weight_decay=0.0)
FLOW_COURSE = Course(steps=5000, rate=1e-3, warm_up=100)
PICTURES = 3000
SCENES = 4096
STYLE_SCENES = 2048


def main(arguments: list[str]) -> None:
    """Run every stage that is not finished."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options.out, torch.device(options.device), options.seed, options.compile)
    supply_nearest_resize()
    with quiet_libraries():
        train(run)


def train(run: Run) -> None:
    """Train every part in turn and write the files that lorakit ships into `shipped`."""
    torch.manual_seed(run.seed)
    vae = make_vae()
    train_vae(run, vae, VAE_COURSE, mixed(PICTURES, run.seed + 1))
    shipped = run.folder / "shipped"
    text = make_text_path(shipped / "components", run.seed)
    pool = _base_pool(run, vae, text)
    painter = train_flow(run, len(text.t5_tokenizer), FLOW_COURSE, pool)
    facts = {"lorakit.training": json.dumps(_facts(run), sort_keys=True)}
    write_components(shipped / "components", painter, vae, facts)
    for plan in STYLE_PLANS:
        patches = train_style(run, painter, plan, _style_pool(run, vae, text, plan.name))
        write_adapter(shipped / f"{plan.name}.safetensors", plan, patches, facts)
    patches = train_distilled(run, painter, DISTILLED, pool, cfg=GUIDANCE)
    write_adapter(shipped / "demo-rdbt-lora.safetensors", DISTILLED, patches, facts)
    write_base(shipped / "demo-rdbt.safetensors", painter, patches, facts)


def _base_pool(run: Run, vae: AutoencoderKLQwenImage, text: TextPath) -> Pool:
    shown = scenes(SCENES, run.seed + 2)
    latents = normalised(vae, drawn(shown), run.device)
    return Pool(latents, text.read(prompts(shown, run.seed + 3)), text.read([""]))


def _style_pool(run: Run, vae: AutoencoderKLQwenImage, text: TextPath, name: str) -> Pool:
    """Scenes in one style; half of the prompts call it by its trigger word."""
    shown = scenes(STYLE_SCENES, run.seed + 4)
    latents = normalised(vae, drawn(shown, STYLES[name]), run.device)
    lots = random.Random(run.seed + 5)
    said = [prompt_of(scene, lots) for scene in shown]
    said = [f"@{name}, {prompt}" if lots.random() < 0.5 else prompt for prompt in said]
    return Pool(latents, text.read(said), text.read([""]))


def _facts(run: Run) -> dict[str, object]:
    """What a shipped file says of its making: the commit, the seed and the settings."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    courses = {"vae": VAE_COURSE, "flow": FLOW_COURSE, "distilled": DISTILLED.course}
    courses |= {plan.name: plan.course for plan in STYLE_PLANS}
    return {
        "commit": commit or "unknown",
        "seed": run.seed,
        "scenes": SCENES,
        "guidance": GUIDANCE,
        "courses": {name: asdict(course) for name, course in courses.items()},
    }


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where states and results are kept")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
