"""Sentences for values that a pydantic model refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


MOST = 5
"""Fields that one sentence names."""


def explain_invalid(error: ValidationError, whole: str = "arguments") -> str:
    """Returns what is wrong with each field: "size=x: input should be a valid integer; prompt: is required".

    `whole` is the name of what was validated, where that was not a model's field.
    """
    return "; ".join(_explain(detail, whole) for detail in error.errors(include_url=False)[:MOST])


def _explain(detail: ErrorDetails, whole: str) -> str:
    name = ".".join(map(str, detail["loc"])) or whole
    match detail["type"]:
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{name}: is required"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{name}: there is no such argument"
    given = detail["input"]
    shown = f"={given}" if isinstance(given, str | int | float) and 0 < len(str(given)) <= 60 else ""
    return f"{name}{shown}: {sentence_of(detail)}"


def sentence_of(detail: ErrorDetails) -> str:
    """Returns what is wrong with one value, without a capital letter and a full stop: it follows a colon."""
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]
