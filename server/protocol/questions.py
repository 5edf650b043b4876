"""Ask the user where the client can (elicitation), instead of failing: replace the file? which game? which sprite?

A client without elicitation gets the error that names the argument to give. Both protocol eras: the older one is asked
while the call waits, the newer one gets the question as the result and calls again with the answer (SEP-2322).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from fastmcp import Context
from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import InputRequiredToolResult
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

_SEVERAL_GAMES = re.compile(r"The workspace (?P<root>.+?) holds several Bevy crates \((?P<names>[^)]+)\)")
_KEY = "answer"


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is one argument of the call."""

    argument: str
    message: str
    choices: dict[str, Any]
    """What the user may pick -> the argument's value; None: the call fails as it did."""


class Questions(Middleware):
    """Turns an answerable failure of a call into a question to the user."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """See `fastmcp.server.middleware.Middleware`.

        Raises:
            ToolError: what the call raised, where the client cannot be asked or the user declined.
        """
        arguments = dict(context.message.arguments or {})
        ctx = context.fastmcp_context
        answered = _answers(ctx)
        for _ in range(3):  # a game, a sprite and the overwrite at most
            try:
                question = several_sprites(context.message.name, arguments)
                if question is None:
                    message = context.message.model_copy(update={"arguments": arguments})
                    return await call_next(context.copy(message=message))
                failure = ToolError(
                    "asset_id is one id, not several. Choose one: the answer of generate_sprite has them."
                )
            except ToolError as error:
                question, failure = question_of(str(error)), error
            if question is None or ctx is None or not can_ask(ctx):
                raise failure
            if question.argument in answered:
                picked = answered.pop(question.argument)
            elif _modern(ctx):
                return _as_result(question)
            else:
                picked = await _ask(ctx, question)
            value = question.choices.get(picked)
            if value is None:
                raise failure
            arguments[question.argument] = value
        raise ToolError("The call needs more answers than it asked for. Give the arguments that the errors name.")


def question_of(error: str) -> Question | None:
    """Returns the question that would get the call past this error; None where there is none."""
    if "exists already and holds something else" in error:
        file = error.split(" exists already", 1)[0]
        message = f"{file} exists already and holds something else. Replace it? undo_deploy brings it back."
        return Question("overwrite", message, {"replace it": True, "keep it": None})
    if found := _SEVERAL_GAMES.search(error):
        games = {name.strip(): f"{found['root']}/{name.strip()}" for name in found["names"].split(",")}
        return Question("project", f"{found['root']} holds several games. Which one?", games)
    return None


def several_sprites(tool: str, arguments: dict[str, Any]) -> Question | None:
    """Returns the question which of several candidates goes into the game; None where one is named."""
    if tool != "deploy_asset" or not isinstance(arguments.get("asset_id"), str):
        return None
    ids = [word for word in re.split(r"[\s,;]+", arguments["asset_id"]) if word]
    if len(ids) < 2:
        return None
    return Question(
        "asset_id",
        f"Which of the {len(ids)} sprites goes into the game? The numbers are those in the picture.",
        {f"{number}: {asset_id}": asset_id for number, asset_id in enumerate(ids, 1)},
    )


def can_ask(ctx: Context) -> bool:
    """Returns whether the client shows questions to its user."""
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None


def _modern(ctx: Context) -> bool:
    asked = ctx.request_context
    return asked is not None and asked.protocol_version in MODERN_PROTOCOL_VERSIONS


async def _ask(ctx: Context, question: Question) -> str:
    answer = await ctx.elicit(question.message, response_type=list(question.choices))
    return str(answer.data) if answer.action == "accept" else ""


def _as_result(question: Question) -> InputRequiredToolResult:
    schema = {
        "type": "object",
        "properties": {_KEY: {"type": "string", "enum": list(question.choices)}},
        "required": [_KEY],
    }
    asked = ElicitRequest(params=ElicitRequestFormParams(message=question.message, requested_schema=schema))
    return InputRequiredToolResult(
        InputRequiredResult(input_requests={_KEY: asked}, request_state=json.dumps(question.argument))
    )


def _answers(ctx: Context | None) -> dict[str, str]:
    """Returns what the user answered to the question that an earlier call of this one returned: argument -> choice."""
    if ctx is None or not ctx.input_responses or not ctx.request_state:
        return {}
    answer = ctx.input_responses.get(_KEY)
    try:
        argument = json.loads(ctx.request_state)
    except ValueError:
        return {}
    if not isinstance(answer, ElicitResult) or not isinstance(argument, str):
        return {}
    picked = (answer.content or {}).get(_KEY) if answer.action == "accept" else ""
    return {argument: str(picked)}
