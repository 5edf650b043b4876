"""Give a tool the fields of its request model as arguments.

@mcp.tool(title="Draw", ...)
@flat
async def draw(request: SpriteRequest, ctx: Context, project: ProjectArgument = "") -> ToolResult: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from fastmcp.exceptions import ValidationError
from fastmcp.tools import ToolResult
from pydantic import BaseModel
from pydantic import ValidationError as InvalidFields


def flat(tool: Callable[..., Awaitable[ToolResult]]) -> Callable[..., Awaitable[ToolResult]]:
    """Gives the tool the fields of its `request` (a pydantic model) as arguments of their own, before its others.

    fastmcp reads the signature and the annotations that are set here: names, descriptions, defaults and validators are
    the model's.

    Raises (when called):
        ValidationError: the model's own validator refuses fields that are valid one by one.
    """
    hints = get_type_hints(tool, include_extras=True)
    form: type[BaseModel] = hints.pop("request")
    types = get_type_hints(form, include_extras=True)
    parameters, annotations = [], {}
    for name, field in form.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default))
        annotations[name] = types[name]
    own = [p for name, p in inspect.signature(tool).parameters.items() if name != "request"]

    async def call(**arguments: Any) -> ToolResult:
        fields = {name: arguments.pop(name) for name in form.model_fields}
        try:
            request = form.model_validate(fields)
        except InvalidFields as error:
            raise ValidationError(str(error)) from error
        return await tool(request, **arguments)

    call.__name__, call.__doc__, call.__module__ = tool.__name__, tool.__doc__, tool.__module__
    call.__annotations__ = annotations | hints
    call.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=call.__annotations__[p.name])
            for p in (*parameters, *own)
        ],
        return_annotation=hints["return"],
    )
    return call
