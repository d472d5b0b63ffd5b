"""README.md is true: its tree is the tree, its silo is the example, its commands exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

WRITTEN_BY_TOOLS = {"__pycache__", "build", "dist", "reports"}


def block_with(text: str) -> str:
    """The one fenced block of README.md that holds this text."""
    blocks = [block for block in re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL) if text in block]
    assert len(blocks) == 1
    return blocks[0]


def is_written_by_people(path: Path) -> bool:
    """Whether a file or folder belongs into the printed tree; git keeps no empty folders, so they do not."""
    if path.is_dir() and not any(file.is_file() and "__pycache__" not in file.parts for file in path.rglob("*")):
        return False
    if path.name.startswith("."):
        return path.name == ".ci"
    return path.name not in WRITTEN_BY_TOOLS and path.suffix != ".egg-info"


def real_tree() -> list[str]:
    """Every top-level entry, and every folder one level below, indented as in README.md."""
    lines = []
    for entry in ROOT.iterdir():
        if is_written_by_people(entry):
            lines.append(entry.name + ("/" if entry.is_dir() else ""))
            folders = (path for path in entry.iterdir() if path.is_dir()) if entry.is_dir() else iter(())
            lines.extend(f"  {folder.name}/ in {entry.name}" for folder in folders if is_written_by_people(folder))
    return sorted(lines)


def printed_tree() -> list[str]:
    """The same from README.md."""
    lines: list[str] = []
    parent = ""
    for line in block_with("pyproject.toml  ").splitlines():
        name = line.split()[0]
        if line.startswith("  "):
            lines.append(f"  {name} in {parent}")
        else:
            parent = name.removesuffix("/")
            lines.append(name)
    return sorted(lines)


def documents() -> dict[Path, str]:
    """Every document for people, and its text."""
    return {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))}


def test_printed_tree_is_the_tree() -> None:
    """The tree in README.md has every file and folder that is there, and no other."""
    assert printed_tree() == real_tree()


def test_printed_silo_is_the_example() -> None:
    """The fifteen-line silo in README.md is the one in examples/, which the tests run."""
    example = (ROOT / "examples" / "fifteen_line_silo.py").read_text(encoding="utf-8")

    assert block_with("SiloClient") == example


def test_printed_silo_has_fifteen_lines() -> None:
    """It keeps its promise: fifteen lines, blank ones and the docstring left out."""
    lines = [line for line in block_with("SiloClient").splitlines()[1:] if line.strip()]

    assert len(lines) <= 15


def test_make_commands_exist() -> None:
    """Every `make ...` that a document names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    command = re.compile(r"(?:`|^ *)make ([a-z0-9-]+)", flags=re.MULTILINE)

    assert {name for text in documents().values() for name in command.findall(text)} <= targets


def test_links_lead_somewhere() -> None:
    """Every relative link of a document leads to a file or folder of the tree."""
    link = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    targets = {(document, target) for document, text in documents().items() for target in link.findall(text)}

    assert {(document, target) for document, target in targets if not (document.parent / target).exists()} == set()
