"""A language model on loopback that always does the same: draws a sprite, deploys it, takes it back.

Speaks the APIs that agent libraries and assistants use: OpenAI's chat completions and responses, Anthropic's messages,
Gemini's generateContent. What it does next depends only on how many tool results the request holds. Every request is
kept: a test looks there for the picture.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STEPS = ("generate_sprite", "deploy_asset", "undo_deploy")
WAIT = "WaitForMcpServers"
SEARCH, DEFERRED = "tool_search", "tool_call"
"""Qwen Code offers its own tools alone: these find and call the others by name."""
MOST_WAITS = 20
_ID = re.compile(r"asset_id\W+([0-9a-f]{12})\b")
_PICTURE = re.compile(r'data:image/png;base64,iVBOR|"(?:data|result)":\s*"iVBOR')


class ScriptedModel:
    """The server; use as a context manager."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": self}))

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedModel:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def called(self) -> list[str]:
        """The tools whose results came back, in order, as far as the longest request shows."""
        most = max((len(list(tool_results(request))) for request in self.requests), default=0)
        return list(STEPS[:most])

    @property
    def saw_picture(self) -> bool:
        """Whether a request held a PNG for the model's eyes."""
        return any(_PICTURE.search(json.dumps(request)) for request in self.requests)


def tool_results(value: Any) -> Iterator[dict[str, Any]]:
    """The results of the studio's tools anywhere in a request, in each API's form."""
    if isinstance(value, list):
        for item in value:
            yield from tool_results(item)
    elif isinstance(value, dict):
        kinds = (value.get("type"), value.get("role"))
        if (
            "tool_result" in kinds
            or "function_call_output" in kinds
            or "tool" in kinds[1:]
            or "functionResponse" in value
        ):
            if "asset_id" in json.dumps(value):
                yield value
        else:
            for item in value.values():
                yield from tool_results(item)


def tool_name(value: Any, wanted: str) -> str:
    """The name under which the client offers a tool: as it is, or with a prefix."""
    if isinstance(value, list):
        return next((name for item in value if (name := tool_name(item, wanted))), "")
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str) and name.endswith(wanted):
            return name
        return next((name for item in value.values() if (name := tool_name(item, wanted))), "")
    return ""


def next_call(request: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The tool that is called next with its arguments; None where all is done, or the tools are not offered."""
    history = request.get("messages") or request.get("input") or request.get("contents") or []
    tools = request.get("tools") or []
    done = len(list(tool_results(history)))
    if done >= len(STEPS):
        return None
    said = json.dumps(history)
    ids = _ID.findall(said)
    arguments: dict[str, Any] = {"prompt": "red dragon", "size": 16} if done == 0 else {"path": "dragon.png"}
    if done == 1:
        arguments["asset_id"] = ids[-1]
    if name := tool_name(tools, STEPS[done]):
        return name, arguments
    if tool_name(tools, DEFERRED):
        if found := re.search(rf"mcp_[\w-]+{STEPS[done]}", said):
            return DEFERRED, {"name": found[0], "arguments": arguments}
        return (SEARCH, {"query": STEPS[done]}) if said.count(SEARCH) < 2 * MOST_WAITS else None
    # Claude Code begins before its servers are connected, and has a tool that waits for them
    return (WAIT, {}) if tool_name(tools, WAIT) and said.count(WAIT) < MOST_WAITS else None


class _Handler(BaseHTTPRequestHandler):
    model: ScriptedModel

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._json({"data": [], "models": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        request = json.loads(body or b"{}")
        self.model.requests.append(request)
        self.model.paths.append(self.path)
        call = next_call(request)
        number = f"call_{len(self.model.requests)}"
        if "/chat/completions" in self.path:
            self._chat(request, call, number)
        elif "/responses" in self.path:
            self._responses(request, call, number)
        elif "/messages" in self.path and "count_tokens" not in self.path:
            self._messages(request, call, number)
        elif "enerateContent" in self.path:
            self._gemini(call)
        else:
            self._json({"input_tokens": 10, "totalTokens": 10})

    def _chat(self, request: dict[str, Any], call: tuple[str, dict[str, Any]] | None, number: str) -> None:
        message: dict[str, Any] = {"role": "assistant", "content": None if call else "Done."}
        if call:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"index": 0, "id": number, "type": "function", "function": function}]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        common = {"id": number, "created": 1, "model": "scripted"}
        ended = "tool_calls" if call else "stop"
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": ended}
            self._json({**common, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        chunk = {**common, "object": "chat.completion.chunk"}
        first = {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}
        last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": ended}], "usage": usage}
        self._events([("", first), ("", last), ("", "[DONE]")])

    def _responses(self, request: dict[str, Any], call: tuple[str, dict[str, Any]] | None, number: str) -> None:
        if call:
            item = {
                **{"type": "function_call", "id": f"fc_{number}", "call_id": number, "status": "completed"},
                **{"name": call[0], "arguments": json.dumps(call[1])},
            }
            if space := namespace_of(request.get("tools") or [], call[0]):
                item["namespace"] = space
        else:
            text = {"type": "output_text", "text": "Done.", "annotations": []}
            item = {
                "type": "message",
                "id": f"m_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        usage = {
            **{"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
            **{"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
        }
        response = {
            **{"id": f"r_{number}", "object": "response", "created_at": 1, "model": "scripted", "status": "completed"},
            **{"output": [item], "usage": usage, "parallel_tool_calls": False, "tool_choice": "auto", "tools": []},
        }
        if not request.get("stream"):
            self._json(response)
            return
        started = {**response, "status": "in_progress", "output": []}
        events = [
            {"type": "response.created", "response": started},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        numbered = [{**event, "sequence_number": index} for index, event in enumerate(events)]
        self._events([(event["type"], event) for event in numbered])

    def _messages(self, request: dict[str, Any], call: tuple[str, dict[str, Any]] | None, number: str) -> None:
        block: dict[str, Any] = {"type": "text", "text": "Done."}
        if call:
            block = {"type": "tool_use", "id": f"toolu_{number}", "name": call[0], "input": call[1]}
        ended = "tool_use" if call else "end_turn"
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {
            **{"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "scripted", "content": [block]},
            **{"stop_reason": ended, "stop_sequence": None, "usage": usage},
        }
        if not request.get("stream"):
            self._json(message)
            return
        empty = {**block, "input": {}} if call else {**block, "text": ""}
        delta = {"type": "text_delta", "text": "Done."}
        if call:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": ended, "stop_sequence": None}, "usage": usage},
            {"type": "message_stop"},
        ]
        self._events([(event["type"], event) for event in events])

    def _gemini(self, call: tuple[str, dict[str, Any]] | None) -> None:
        part: dict[str, Any] = {"functionCall": {"name": call[0], "args": call[1]}} if call else {"text": "Done."}
        candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}
        if "stream" in self.path:
            self._events([("", answer)])
        else:
            self._json(answer)

    def _json(self, value: Any) -> None:
        self._send("application/json", json.dumps(value).encode())

    def _events(self, events: list[tuple[str, Any]]) -> None:
        lines = []
        for name, value in events:
            data = value if isinstance(value, str) else json.dumps(value)
            lines.append((f"event: {name}\n" if name else "") + f"data: {data}\n\n")
        self._send("text/event-stream", "".join(lines).encode())

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def namespace_of(tools: list[Any], name: str) -> str:
    """The namespace that holds a tool, where the client sends namespaces."""
    for tool in tools:
        if isinstance(tool, dict) and tool.get("type") == "namespace" and tool_name(tool.get("tools") or [], name):
            return str(tool.get("name", ""))
    return ""
