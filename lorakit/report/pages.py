"""What all pages share: templates, embedded pictures, and a policy that forbids every request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from lorakit import __version__


def fill_page(
    template: str, styles: Sequence[str], scripts: Sequence[str], **values: object
) -> str:
    """A page from `template`, which gets `style`, `script`, `policy` and `version` besides `values`.

    The policy lets the page run this very script and show embedded pictures, and forbids all else:
    whatever a name or a prompt holds, nothing is asked of any server.
    """
    style, script = ("\n" + "\n".join(map(_asset, names)) for names in (styles, scripts))
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(version=__version__, style=style, script=script, policy=policy, **values)


def data_url(content: bytes, mime: str) -> str:
    """The bytes of a file as an address that holds them."""
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lorakit.report"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Settings are shown in the order they are given.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False}
    return environment
