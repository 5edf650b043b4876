"""Make the JSON schemas of tools small: an assistant carries all of them along in its context."""

from __future__ import annotations

from typing import Any

from server.features.requests import MODEL_HELP, NEGATIVE_HELP, PALETTE_HELP, SEED_HELP

SAID_ONCE = {PALETTE_HELP, MODEL_HELP, SEED_HELP, NEGATIVE_HELP}
"""Descriptions that the server's instructions give once for all tools, or that the argument's name says."""


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Replaces every `$ref` of the schema by what it names: some clients read no references.

    fastmcp does the same with a package that imports an HTTP client, a quarter of a second before the tools are listed.
    The schemas of this server name nothing that refers to itself.
    """
    definitions = schema.get("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(item) for item in part]
        if not isinstance(part, dict):
            return part
        named = definitions[part["$ref"].removeprefix("#/$defs/")] if "$ref" in part else {}
        return {key: resolved(value) for key, value in {**named, **part}.items() if key not in ("$ref", "$defs")}

    return resolved(schema)


def small_schema(schema: Any) -> Any:
    """Removes nulls, bounds, empty or false defaults and the ban on unknown names from every part of the schema.

    A default that is the first of the choices is left out too, and so is what SAID_ONCE holds. An assistant carries
    all schemas along in its context. `null` still means "not given"; a value out of range or an
    unknown argument is still answered with what is valid.
    """
    if isinstance(schema, list):
        return [small_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1 and isinstance(options[0], dict):
        schema = {**{key: value for key, value in schema.items() if key != "anyOf"}, **options[0]}
    if "enum" in schema:
        schema = {key: value for key, value in schema.items() if key != "type"}
    defaults = (None, False, 0, "", [], {}, *schema.get("enum", ())[:1])
    dropped = {"additionalProperties": (False, True), "default": defaults}
    return {
        key: {name: small_schema(part) for name, part in value.items()}
        if key == "properties" and isinstance(value, dict)
        else small_schema(value)
        for key, value in schema.items()
        if key not in ("minimum", "maximum")
        and not (key == "description" and isinstance(value, str) and value in SAID_ONCE)
        and not any(value is other or value == other for other in dropped.get(key, ()) if type(value) is type(other))
    }


def small_answer(schema: Any, described: bool = True, outermost: bool = True) -> Any:
    """Makes a tool's output schema small; it keeps the names, types and meanings of what an answer holds.

    Left out: what a model class says of itself, defaults, which names of the inner objects are always there, and the
    type of an object's entries where that is a plain one.
    Without `described` also the meanings: another tool answers the same and says them.
    """
    if isinstance(schema, list):
        return [small_answer(item, described, False) for item in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"default"} if described and "properties" not in schema else {"default", "description"}
    dropped |= set() if outermost else {"required"}
    others = schema.get("additionalProperties")
    if others is True or (isinstance(others, dict) and others.keys() == {"type"}):
        dropped.add("additionalProperties")
    small = {}
    for key, value in schema.items():
        if key == "properties":
            small[key] = {name: small_answer(part, described, False) for name, part in value.items()}
        elif key not in dropped:
            small[key] = value if key == "required" else small_answer(value, described, False)
    return small
