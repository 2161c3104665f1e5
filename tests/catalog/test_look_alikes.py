"""What else has an adapter's layers is kept with its report, and reports that lack it are read as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorakit.catalog import Catalog
from lorakit.catalog.reports import columns_of, whole_report
from lorakit.formats.inspection import inspect
from tests.factories import Payload, write_safetensors, zeros

# Anima's by name and width, and LTX-Video's.
TENSORS: dict[str, Payload] = {
    f"transformer.transformer_blocks.{block}.attn1.to_q.lora_{factor}.weight": zeros("BF16", shape)
    for block in range(2)
    for factor, shape in (("A", (4, 2048)), ("B", (2048, 4)))
}


@pytest.mark.parametrize("header", [{}, {"modelspec.architecture": "ltxv-2b/lora"}])
def test_the_stored_report_tells_of_look_alikes(
    header: dict[str, str], catalog: Catalog, folder: Path
) -> None:
    path = write_safetensors(folder / "ink.safetensors", TENSORS, header)
    catalog.add([path])
    stored = catalog.report(catalog.resolve("ink"))
    assert stored == json.loads(json.dumps(inspect(path).to_dict()))
    assert stored["look_alikes"] == ["LTX-Video (2B)"]


def test_a_report_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    report = inspect(write_safetensors(tmp_path / "ink.safetensors", TENSORS), hashes=False)
    kept = columns_of(report).report
    document = {key: value for key, value in kept["document"].items() if key != "look_alikes"}
    found = whole_report(json.dumps(document), json.dumps(kept["header"]), kept["modules"])
    assert found["family_told"]["name"] is None
