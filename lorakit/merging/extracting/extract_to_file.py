"""An extracted adapter as a file, through the gate: it holds what came of both checkpoints' weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorakit.adapters.adapter import Adapter
from lorakit.bases import ChosenBase
from lorakit.errors import BadUsage
from lorakit.formats.layouts import WritableLayout
from lorakit.gate.derived import Progress
from lorakit.merging.extracting.differences import open_pair
from lorakit.merging.extracting.extract import DEFAULT_MOST, Extraction, check_wanted, extract
from lorakit.merging.extracting.report import ExtractionReport
from lorakit.merging.provenance import made
from lorakit.merging.rounding import DTYPES
from lorakit.merging.writing import WrittenAdapter, write_adapter

if TYPE_CHECKING:
    from lorakit.catalog import Catalog

DEFAULT_DTYPE = "bf16"
DEFAULT_LAYOUT: WritableLayout = "comfy"


@dataclass(frozen=True)
class Wanted:
    """What a person asks of an extraction; see `extract`. `dtype` is bf16, fp16 or fp32."""

    rank: int | None = None
    energy: float | None = None
    most: int = DEFAULT_MOST
    norms: bool = False
    biases: bool = False
    dtype: str = DEFAULT_DTYPE
    seed: int = 0

    def options(self) -> dict[str, Any]:
        """What a replay needs, as the file's header keeps it."""
        return {
            "rank": self.rank,
            "energy": self.energy,
            "max_rank": self.most,
            "norms": self.norms,
            "biases": self.biases,
        }

    @classmethod
    def recorded(cls, document: Mapping[str, Any]) -> Wanted:
        """What `options` wrote, from the record of a file. Raises `KeyError` or `TypeError` for another."""
        options = document["options"]
        return cls(
            options["rank"],
            options["energy"],
            options["max_rank"],
            options["norms"],
            options["biases"],
            document["dtype"],
            document["seed"],
        )

    def check(self) -> None:
        """Raise `BadUsage` for numbers that make no sense, before anything is asked or read."""
        check_wanted(self.rank, self.energy, self.most)

    def extract(
        self, tuned: Path, base: Path, on_progress: Progress, *, device: str = "cpu"
    ) -> Extraction:
        """Carry it out in memory."""
        return extract(
            tuned,
            base,
            rank=self.rank,
            energy=self.energy,
            most=self.most,
            norms=self.norms,
            biases=self.biases,
            dtype=DTYPES[self.dtype],
            seed=self.seed,
            device=device,
            on_progress=on_progress,
        )


def extract_to_file(
    catalog: Catalog,
    tuned: ChosenBase,
    base: ChosenBase,
    wanted: Wanted,
    output: str | Path,
    *,
    layout: WritableLayout = DEFAULT_LAYOUT,
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> tuple[WrittenAdapter, ExtractionReport]:
    """Write the adapter that turns `base` into `tuned` to `output`, if the terms of both allow it.

    Raises what `extract` and `write_adapter` raise; `Refused` before a weight is read.
    """
    if tuned.path.resolve() == base.path.resolve():
        raise BadUsage(
            f"{tuned.name} and {base.name} are the same file, so there is nothing to extract.",
            hint="Name the checkpoint that it was made from as --base.",
        )
    # From headers alone: what is no pair of checkpoints is no matter of licences.
    open_pair(tuned.path, base.path)
    told: list[ExtractionReport] = []

    def opened() -> Adapter:
        found = wanted.extract(tuned.path, base.path, on_progress, device=device)
        told.append(found.report)
        return found.adapter

    done = write_adapter(
        catalog,
        opened,
        kind="extracted adapter",
        what=f"the difference of {tuned.name} and {base.name}",
        ingredients=[tuned, base],
        output=output,
        layout=layout,
        dtype=wanted.dtype,
        made=made(
            "extract",
            layout=layout,
            dtype=wanted.dtype,
            options=wanted.options(),
            seed=wanted.seed,
            device=device,
        ),
        overwrite=overwrite,
        on_progress=on_progress,
    )
    return done, told[0]
