"""The house's budgets: files, functions and parameter lists stay small enough to read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("common", "aggregator", "silo_agent", "deploy", "benchmarks", "examples", "tests")

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef


def source_files() -> list[Path]:
    """Every Python file that a person wrote."""
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    return sorted(file for file in files if ROOT / "common" / "isthmus" / "v1" not in file.parents)


def functions(file: Path) -> Iterator[tuple[str, Function, bool]]:
    """Every function of a file: where it stands, the function, and whether it is a method."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    methods = {member for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for member in node.body}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node, node in methods


def num_lines(function: Function) -> int:
    """Lines of a function from `def` to its end, its docstring left out: contracts may be as long as they must."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def num_positional(function: Function, *, is_method: bool) -> int:
    """Parameters that a caller may pass by position, `self` and `cls` left out."""
    names = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return len(names[1:] if is_method and names and names[0] in ("self", "cls") else names)


def is_called_by_pytest(function: Function) -> bool:
    """Whether it is a test or a fixture: pytest passes their parameters by name."""
    return function.name.startswith("test_") or any("fixture" in ast.unparse(d) for d in function.decorator_list)


def test_files_fit_their_budget() -> None:
    """No file has more lines than one reads in one go."""
    sizes = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in source_files()}

    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_functions_fit_their_budget() -> None:
    """No function has more lines than fit on a screen."""
    sizes = {name: num_lines(function) for file in source_files() for name, function, _ in functions(file)}

    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


def test_parameters_have_names_at_the_call() -> None:
    """No function takes more than a few parameters by position: the others are named by the caller."""
    counts = {
        name: num_positional(function, is_method=is_method)
        for file in source_files()
        for name, function, is_method in functions(file)
        if not is_called_by_pytest(function)
    }

    assert {name: count for name, count in counts.items() if count > MAX_POSITIONAL} == {}


@pytest.mark.parametrize(
    "word", ["utils", "helpers", "managers", "manager", "base", "constants", "types", "common", "misc"]
)
def test_no_file_is_a_junk_drawer(word: str) -> None:
    """No module has a name that says nothing of what it holds."""
    assert [str(file.relative_to(ROOT)) for file in source_files() if file.stem == word] == []


def test_every_test_claims_something() -> None:
    """Every test's docstring is its claim."""
    tests = [
        (name, function)
        for file in source_files()
        if file.name.startswith("test_")
        for name, function, _ in functions(file)
        if function.name.startswith("test_")
    ]

    assert [name for name, function in tests if not ast.get_docstring(function)] == []
