"""What the trained model can be held to: `python -m training.facts FOLDER` measures and prints it.

FOLDER holds what the training has shipped; left out, it is what lorakit ships.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lorakit.preview.demo_model import SHIPPED, SIDE
from lorakit.preview.settings import RenderSettings
from training.measures import STYLE_MEASURES, Picture, hue_centre, hue_share
from training.scenes import BACKGROUNDS, COLOURS, PLACES, SIZES, Scene, outline, prompt_of

if TYPE_CHECKING:
    from lorakit.preview.session import Session

SHOWN = (
    Scene("circle", "red", "white", "on the left", "large"),
    Scene("square", "blue", "pink", "on the right", "large"),
    Scene("triangle", "green", "grey", "at the top", "large"),
    Scene("star", "orange", "cyan", "in the centre", "large"),
)
EDITION = "demo-rdbt-lora"


@dataclass(frozen=True)
class Studio:
    """A session of the demo model and all its adapters, the folder they lie in, and what was made."""

    session: Session
    folder: Path
    made: dict[object, Picture] = field(default_factory=dict)

    def picture(
        self,
        prompt: str,
        stack: Mapping[str, float] | None = None,
        *,
        cfg: float = 1.0,
        seed: int = 0,
        steps: int = 20,
    ) -> Picture:
        """One picture of the model with `stack` (names of files with strengths)."""
        settings = RenderSettings(prompt, width=SIDE, height=SIDE, steps=steps, cfg=cfg, seed=seed)
        used = tuple((name, strength) for name, strength in (stack or {}).items() if strength)
        if (used, settings) not in self.made:
            self.session.restack([(self.folder / f"{name}.safetensors", s) for name, s in used])
            self.made[used, settings] = np.asarray(self.session.renderer.render(settings))
        return self.made[used, settings]


def open_studio(folder: Path = SHIPPED) -> Studio:
    """Load the model in `folder` with everything that is there to stack on it."""
    from lorakit.preview.session import open_session

    names = (EDITION, *STYLE_MEASURES)
    session = open_session(
        folder / "demo-rdbt.safetensors",
        [(folder / f"{name}.safetensors", 1.0) for name in names],
        components=str(folder / "components"),
        device="cpu",
    )
    return Studio(session, folder)


def colour_and_place(studio: Studio, scene: Scene, seed: int) -> tuple[float, float, float]:
    """How much of the picture has the colour that was asked for, next to the shape's own area.

    Also how far the centre of that colour lies from the place asked for, across and down, as shares of
    the sides.
    """
    picture = studio.picture(prompt_of(scene), seed=seed)
    colour = COLOURS[scene.colour]
    across, down = hue_centre(picture, colour)
    wanted = PLACES[scene.place]
    share = hue_share(picture, colour) / _area(scene)
    return share, abs(across - wanted[0]), abs(down - wanted[1])


def style_curve(
    studio: Studio, style: str, strengths: Sequence[float], seeds: Sequence[int]
) -> list[float]:
    """The style's figure at each strength, mean over `SHOWN` and `seeds`."""
    measure = STYLE_MEASURES[style]
    return [
        fmean(
            measure(studio.picture(prompt_of(scene), {style: strength}, seed=seed))
            for scene in SHOWN
            for seed in seeds
        )
        for strength in strengths
    ]


def both_styles(
    studio: Studio, stack: Mapping[str, float], seeds: Sequence[int]
) -> dict[str, tuple[float, float]]:
    """For each style in `stack`, its figure without the stack and with it."""
    found = {}
    for style in stack:
        measure = STYLE_MEASURES[style]

        def mean(used: Mapping[str, float], measure: Callable[[Picture], float] = measure) -> float:
            return fmean(
                measure(studio.picture(prompt_of(scene), used, seed=seed))
                for scene in SHOWN
                for seed in seeds
            )

        found[style] = (mean({}), mean(stack))
    return found


def distances(studio: Studio, seeds: Sequence[int]) -> tuple[float, float]:
    """How far two pictures at CFG 1 lie from the undistilled model's at CFG 4: distilled, undistilled.

    Root mean square over pixels, 0 to 255, mean over `SHOWN` and `seeds`.
    """
    undistilled = {EDITION: -1.0}
    distilled, plain = [], []
    for scene in SHOWN:
        for seed in seeds:
            prompt = prompt_of(scene)
            guided = studio.picture(prompt, undistilled, cfg=4.0, seed=seed)
            distilled.append(_apart(guided, studio.picture(prompt, seed=seed)))
            plain.append(_apart(guided, studio.picture(prompt, undistilled, seed=seed)))
    return fmean(distilled), fmean(plain)


def _apart(one: Picture, other: Picture) -> float:
    difference = one.astype(np.float64) - other.astype(np.float64)
    return float(np.sqrt(np.square(difference).mean()))


def _area(scene: Scene) -> float:
    """The shape's share of the picture (the shoelace formula)."""
    corners = np.array(outline(scene, 1))
    following = np.roll(corners, -1, axis=0)
    return 0.5 * abs(
        float((corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]).sum())
    )


def main(arguments: Sequence[str]) -> None:
    """Print every figure."""
    studio = open_studio(Path(arguments[0]) if arguments else SHIPPED)
    backgrounds = list(BACKGROUNDS)
    for number, colour in enumerate(COLOURS):
        for place in PLACES:
            scene = Scene("circle", colour, backgrounds[number], place, tuple(SIZES)[-1])
            share, across, down = colour_and_place(studio, scene, seed=number)
            print(f"{prompt_of(scene):62} {share:5.2f} of its area, {across:.2f} {down:.2f} away")
    for style in STYLE_MEASURES:
        curve = style_curve(studio, style, (0.0, 0.5, 1.0), (0, 1))
        print(style, *(f"{value:.3f}" for value in curve))
    for pair in (
        {"ink": 0.8, "mosaic": 0.5},
        {"ink": 0.7, "wash": 0.7},
        {"neon": 0.6, "mosaic": 0.6},
    ):
        print(pair, both_styles(studio, pair, (0, 1)))
    distilled, undistilled = distances(studio, (0, 1))
    print(f"apart from guided: distilled {distilled:.1f}, undistilled {undistilled:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
