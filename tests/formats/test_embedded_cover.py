"""Pictures in headers are found where programs put them, and nothing else is taken for one."""

from __future__ import annotations

import base64
import json

import pytest

from lorakit.formats.embedded_cover import embedded_cover

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 9
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 9


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_the_thumbnail_of_modelspec_is_a_cover() -> None:
    found = embedded_cover({"modelspec.thumbnail": f"data:image/jpeg;base64,{encoded(JPEG)}"})
    assert found is not None
    assert (found.content, found.mime, found.key) == (JPEG, "image/jpeg", "modelspec.thumbnail")


@pytest.mark.parametrize(
    "listed", [[encoded(PNG)], ["broken!", 7, f"data:image/png,{encoded(PNG)}"]]
)
def test_the_first_readable_cover_of_additional_networks_is_taken(listed: list[object]) -> None:
    found = embedded_cover({"ssmd_cover_images": json.dumps(listed)})
    assert found is not None
    assert (found.content, found.mime) == (PNG, "image/png")


def test_the_kind_is_told_by_the_bytes() -> None:
    found = embedded_cover({"modelspec.thumbnail": f"data:image/jpeg;base64,{encoded(PNG)}"})
    assert found is not None
    assert found.mime == "image/png"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"modelspec.thumbnail": ""},
        {"modelspec.thumbnail": "https://example.org/cover.png"},
        {"modelspec.thumbnail": "data:image/png;base64,%%%"},
        {"modelspec.thumbnail": "data:image/svg+xml;base64," + encoded(b"<svg onload='x()'/>")},
        {"modelspec.thumbnail": "data:text/html;base64," + encoded(PNG)},
        {"ssmd_cover_images": "[]"},
        {"ssmd_cover_images": "{"},
        {"ssmd_cover_images": '"iVBOR"'},
        {"ssmd_cover_images": "[" * 100_000},
    ],
)
def test_what_is_no_picture_is_no_cover(metadata: dict[str, str]) -> None:
    assert embedded_cover(metadata) is None
