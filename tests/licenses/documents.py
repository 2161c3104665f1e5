"""Documents as other programs save them, cut down to what says something of terms."""

from __future__ import annotations

from typing import Any

SHA = "ab" * 32
OPEN: dict[str, Any] = {
    "allowNoCredit": True,
    "allowCommercialUse": ["Image", "RentCivit", "Rent", "Sell"],
    "allowDerivatives": True,
    "allowDifferentLicense": True,
}
CLOSED: dict[str, Any] = {
    "allowNoCredit": False,
    "allowCommercialUse": ["Image"],
    "allowDerivatives": False,
    "allowDifferentLicense": False,
}


def model_answer(flags: dict[str, Any], *, number: int = 77, sha256: str = SHA) -> dict[str, Any]:
    """What `GET /api/v1/models/{id}` answers."""
    return {
        "id": number,
        "name": "Ink Style",
        "type": "LORA",
        "creator": {"username": "inker", "image": None},
        "tags": ["style"],
        **flags,
        "modelVersions": [
            {"id": 5, "name": "v1", "files": [{"hashes": {"SHA256": "CD" * 32}}]},
            {
                "id": 6,
                "name": "v2",
                "baseModel": "Anima",
                "files": [{"name": "ink.safetensors", "hashes": {"SHA256": sha256.upper()}}],
            },
        ],
    }


def version_answer(*, number: int = 77, sha256: str = SHA) -> dict[str, Any]:
    """What `GET /api/v1/model-versions/by-hash/{hash}` answers: no permissions."""
    return {
        "id": 6,
        "modelId": number,
        "name": "v2",
        "baseModel": "Anima",
        "trainedWords": ["ink"],
        "model": {"name": "Ink Style", "type": "LORA", "nsfw": False, "poi": False},
        "files": [{"name": "ink.safetensors", "hashes": {"SHA256": sha256.upper()}}],
    }


def lora_manager(flags: dict[str, Any], *, number: int = 77, sha256: str = SHA) -> dict[str, Any]:
    """LoRA Manager's `.metadata.json`: the version's answer, with the flags under `model`."""
    version = version_answer(number=number, sha256=sha256)
    return {
        "file_name": "ink",
        "model_name": "Ink Style",
        "sha256": sha256,
        "base_model": "Anima",
        "from_civitai": True,
        "civitai": {
            **version,
            "creator": {"username": "inker"},
            "model": {**version["model"], **flags},
        },
    }
