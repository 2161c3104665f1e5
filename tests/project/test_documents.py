"""The README and the documents against the program, and the repository against its own rules."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from lorakit.cli.app import build_app
from lorakit.cli.overview import VERBS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# A shell word that ends a command.
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "2>"}


@cache
def program() -> typer.core.TyperGroup:
    command = typer.main.get_command(build_app())
    assert isinstance(command, typer.core.TyperGroup)
    return command


def verbs() -> list[str]:
    """Every verb with its sub-verbs: `add`, `base add`, `base ls`, ..."""
    found = []
    for name, command in program().commands.items():
        inner = getattr(command, "commands", None)
        found += [f"{name} {sub}" for sub in inner] if inner else [name]
    return found


def command_lines(text: str) -> Iterator[list[str]]:
    """The words after `lorakit` of every command in the code blocks, fenced or indented."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^ {4}[^\n]*(?:\n {4}[^\n]*)*", text, re.MULTILINE)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if line.startswith("lorakit "):
                words = shlex.split(line, comments=True)[1:]
                end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
                yield words[:end]


def check(words: list[str]) -> None:
    """Fail for a command line that names a verb or an option that does not exist."""
    command: object = program()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    if words and not words[0].startswith("-"):
        # `lorakit trace FILE` means `lorakit trace suspect FILE`.
        default = getattr(command, "default_command", None)
        command = command.commands[default] if default else command  # type: ignore[attr-defined]
    assert not hasattr(command, "commands") or words[0].startswith("-"), f"{words} is no verb"
    if "--help" not in words and "--version" not in words:
        command.make_context("lorakit", words)  # type: ignore[attr-defined]


def test_the_check_of_command_lines_finds_mistakes() -> None:
    for line in ("stak ink", "ls --jsn", "base forget x", "preview --size", "export ink"):
        with pytest.raises(Exception):  # noqa: B017, PT011 (Typer's own kinds are private)
            check(shlex.split(line))
    check(shlex.split('preview "ink:0.8" --base rdbt -p "a sea" -o out.png'))


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_is_in_the_readme_or_on_the_page_of_its_task(verb: str) -> None:
    assert len(verbs()) > len(VERBS)
    pages = [README] if " " not in verb else DOCUMENTS
    assert any(f"lorakit {verb}" in page.read_text(encoding="utf-8") for page in pages)


def test_every_command_in_a_document_exists() -> None:
    lines = {page: list(command_lines(page.read_text(encoding="utf-8"))) for page in DOCUMENTS}
    assert lines[README]
    for words in itertools.chain.from_iterable(lines.values()):
        check(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert text.strip()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.partition("#")[0]).exists(), target


def test_every_page_is_linked_from_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    pages = [page.name for page in DOCUMENTS if page.parent.name == "docs"]
    assert pages
    assert [page for page in pages if f"](docs/{page})" not in text] == []


@pytest.mark.parametrize("name", ["architecture.md", "decisions.md"])
def test_every_file_that_a_page_points_to_is_there(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z0-9_]+/)+(?:[a-z0-9_]+\.[a-z0-9]+)?)`", text))
    assert len(named) > 20
    # Paths start at the package, at the room that a paragraph is about, or at the repository.
    places = [ROOT, ROOT / "lorakit", ROOT / "lorakit" / "merging"]
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


# Split, so that this file does not name what it looks for.
_HOSTS = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "index" + "-url",
    "extra" + "-index",
    "trusted" + "-host",
]
_HOMES = [
    f"/{'home'}/[a-z]",
    f"/{'Users'}/[A-Za-z]",
    f"/{'root'}/",
    f"/{'work'}/",
    f"/{'opt'}/",
    r"[A-Z]:\\+Users",
]
_FORBIDDEN = re.compile(
    "|".join([*map(re.escape, _HOSTS), *(rf"(?<![\w.~}}\]/:-]){home}" for home in _HOMES)])
)


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="runs in a checkout only"
)
def test_no_file_names_a_machine_or_a_package_host() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name]
    assert len(files) > 50
    found = []
    for path in files:
        if path.is_file() and path.suffix not in (".png", ".gif", ".webp"):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in _FORBIDDEN.finditer(text)]
    assert found == []
