"""What must not stand anywhere in the tree: places of one machine, hosts of registries, code that runs data."""

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IGNORED = {".git", "build", "dist", "reports", "__pycache__"}

# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = [
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/ho" + "me/",
    "/opt/" + "wheels",
    "/opt/" + "pypi",
    "../sha" + "red",
    "/tmp/" + "dev",
]
REGISTRIES = [
    "py" + "pi.org",
    "files.python" + "hosted",
    "registry.npm" + "js",
    "download.py" + "torch",
    "deb.deb" + "ian",
    "docker" + ".io/",
    "gh" + "cr.io",
    "hugging" + "face.co",
]
CODE_CARRIERS = {"pickle", "dill", "marshal", "shelve", "joblib", "cloudpickle"}
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]


def text_files() -> list[Path]:
    """Every text file that a person wrote or a generator was asked for; hidden folders of tools left out."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in IGNORED and not name.endswith(".egg-info")]
        folders[:] = [name for name in folders if not name.startswith(".") or name == ".ci"]
        shown = [name for name in files if not name.startswith(".") or name in (".gitignore", ".dockerignore")]
        found += [Path(folder) / name for name in shown]
    return sorted(found)


@functools.cache
def texts() -> dict[str, str]:
    """Their contents, by path; files that are no text are left out."""
    contents = {}
    for path in text_files():
        raw = path.read_bytes()
        if b"\0" not in raw[:4096]:
            contents[str(path.relative_to(ROOT))] = raw.decode("utf-8", errors="replace")
    return contents


def lines_with(word: str) -> list[str]:
    """Where a word stands."""
    return [
        f"{name}:{number}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        if word in line
    ]


@pytest.mark.parametrize("word", MACHINE_PATHS)
def test_no_path_of_one_machine(word: str) -> None:
    """No file names a place that only one machine has."""
    assert lines_with(word) == []


@pytest.mark.parametrize("word", REGISTRIES)
def test_no_host_of_a_registry(word: str) -> None:
    """No file names a registry: which one to use is the business of each machine's own clients."""
    assert lines_with(word) == []


@pytest.mark.parametrize("word", UNFINISHED)
def test_nothing_is_left_for_later(word: str) -> None:
    """No file holds a note about work that nobody has done."""
    assert lines_with(word) == []


def test_code_is_ascii() -> None:
    """Code and protos hold ASCII alone; pictures' captions and people's languages live in data."""
    suffixes = (".py", ".pyi", ".proto", ".toml", ".sh", "Makefile", "Dockerfile", ".yml")

    assert [name for name, text in texts().items() if name.endswith(suffixes) and not text.isascii()] == []


def dangers(tree: ast.AST) -> Iterator[str]:
    """What in a module can run code that came as data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if name.partition(".")[0] in CODE_CARRIERS)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            safely = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            if called in ("eval", "exec") or (called == "torch.load" and not safely):
                yield called


def test_no_code_hides_in_data() -> None:
    """Nothing loads a format that can run code: no pickle, no torch.load of more than weights, no eval of text."""
    python = {name: text for name, text in texts().items() if name.endswith(".py")}
    python = {
        name: text for name, text in python.items() if not name.startswith("tests/hostile/")
    }  # they forge such bytes

    assert {
        name: list(dangers(ast.parse(text))) for name, text in python.items() if any(dangers(ast.parse(text)))
    } == {}


def test_every_document_named_exists() -> None:
    """A document that a text sends its reader to is in the tree."""
    pattern = re.compile(
        r"(?<![\w/.-])((?:docs|deploy|examples|benchmarks|protos)/[\w./-]+\.(?:md|toml|yml|proto|py))\b"
    )
    named = {(name, path) for name, text in texts().items() for path in pattern.findall(text)}

    assert sorted(f"{name}: {path}" for name, path in named if not (ROOT / path).exists()) == []
