"""TOML tables as typed values: unknown keys are refused, and what is wrong with one is told in words."""

from pydantic import BaseModel, ConfigDict, ValidationError

_MAX_TOLD = 8
_MAX_TOLD_CHARACTERS = 96

_PLAIN_WORDS = {
    "extra_forbidden": "there is no such key; correct its spelling or remove it",
    "missing": "this key is missing",
    "tuple_type": "must be a list",
}
"""What pydantic says in a programmer's words, by its name of the problem."""


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explain(error: ValidationError) -> str:
    """Every problem that pydantic found, one sentence each, by dotted key.

    Values are left out: they may be secrets. Of very many problems, or very long keys, not all is told.
    """
    problems = error.errors(include_url=False, include_input=False)
    told = [
        f"{'.'.join(str(part) for part in problem['loc'])[:_MAX_TOLD_CHARACTERS] or 'the file'}: "
        f"{_PLAIN_WORDS.get(problem['type'], problem['msg'].removeprefix('Value error, '))}."
        for problem in problems[:_MAX_TOLD]
    ]
    more = [f"And {len(problems) - _MAX_TOLD} more."] if len(problems) > _MAX_TOLD else []
    return " ".join(told + more)
