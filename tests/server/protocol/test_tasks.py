"""Training as a task of MCP's tasks extension: over the wire, with a real worker, beside clients that know no tasks."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from PIL import Image

from loras.jobs import Jobs
from server.protocol.tasks import EXTENSION
from tests.server.protocol.test_stdio import hear, raw_server, send

MOST_SECONDS = 240


@pytest.fixture
def art(game: Path) -> Path:
    for i, name in enumerate(("red_dragon", "blue_potion")):
        picture = np.full((16, 16, 4), 255, np.uint8)
        picture[4:9, 4:9, :3] = i * 50
        Image.fromarray(picture).save(game / "assets" / f"{name}.png")
    return game / "assets"


class Wire:
    """A client of the newest protocol, which declares the extension or not, request by request."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child, self.last = child, 0

    def ask(self, method: str, tasks: bool = True, **params: Any) -> dict[str, Any]:
        self.last += 1
        meta = {
            PROTOCOL_VERSION_META_KEY: "2026-07-28",
            CLIENT_INFO_META_KEY: {"name": "test", "version": "0"},
            CLIENT_CAPABILITIES_META_KEY: {"extensions": {EXTENSION: {}}} if tasks else {},
        }
        send(self.child, id=self.last, method=method, params={**params, "_meta": meta})
        return hear(self.child, id=self.last)

    def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        deadline = time.monotonic() + MOST_SECONDS
        task = self.ask("tasks/get", taskId=task_id)["result"]
        while task["status"] not in statuses and time.monotonic() < deadline:
            time.sleep(0.2)
            task = self.ask("tasks/get", taskId=task_id)["result"]
        return task


@pytest.mark.slow
def test_a_client_with_tasks_gets_one_and_follows_it_to_the_finished_lora(art: Path, tmp_path: Path) -> None:
    with raw_server(tmp_path / "data", "4") as child:
        wire = Wire(child)
        assert EXTENSION in wire.ask("server/discover")["result"]["capabilities"]["extensions"]
        asked = {"name": "mygame", "steps": 2, "rank": 2}
        task = wire.ask("tools/call", name="train_lora", arguments=asked)["result"]
        assert (task["resultType"], task["status"]) == ("task", "working")
        assert "Learning from 2 pictures" in task["statusMessage"]
        assert {"taskId", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"} <= task.keys()

        done = wire.until(task["taskId"], "completed", "cancelled")
        assert (done["resultType"], done["status"]) == ("complete", "completed")
        answer = done["result"]["structuredContent"]
        assert not done["result"]["isError"], answer
        assert (answer["job"]["status"], answer["taken"]) == ("done", 2)
        assert Path(answer["job"]["lora"]).is_file()
        assert [c["type"] for c in done["result"]["content"]] == ["image", "text"]

        # what cannot be asked
        assert wire.ask("tasks/get", tasks=False, taskId=task["taskId"])["error"]["code"] == -32021
        assert wire.ask("tasks/get", taskId="0123456789abcdef")["error"]["code"] == -32602
        assert wire.ask("tasks/cancel", taskId="../x")["error"]["code"] == -32602
        assert wire.ask("tasks/cancel", taskId=task["taskId"])["result"]["resultType"] == "complete"
        # a bad dataset is an error of the call, not a task
        bad = wire.ask("tools/call", name="train_lora", arguments={"dataset": "nowhere"})["result"]
        assert bad["isError"]


@pytest.mark.slow
def test_a_task_is_cancelled_and_clients_without_tasks_get_the_job_immediately(art: Path, tmp_path: Path) -> None:
    with raw_server(tmp_path / "data", "4") as child:
        wire = Wire(child)
        asked = {"name": "mygame", "steps": 50_000, "rank": 2}
        plain = wire.ask("tools/call", tasks=False, name="train_lora", arguments=asked)["result"]
        job_id = plain["structuredContent"]["job"]["job_id"]
        assert plain["resultType"] == "complete"
        assert wire.ask("tasks/get", taskId=job_id)["result"]["status"] == "working"
        assert wire.ask("tasks/cancel", taskId=job_id)["result"]["resultType"] == "complete"
        assert wire.until(job_id, "completed", "cancelled")["status"] == "cancelled"
    jobs = Jobs(tmp_path / "data" / "jobs")
    assert [job.status for job in jobs.list()] == ["cancelled"]


@pytest.mark.slow
def test_a_client_of_the_older_protocol_never_gets_a_task(art: Path, tmp_path: Path) -> None:
    capable = {"extensions": {EXTENSION: {}}}
    with raw_server(tmp_path / "data", "4") as child:
        hello = {"protocolVersion": "2025-06-18", "capabilities": capable, "clientInfo": {"name": "t", "version": "0"}}
        send(child, id=1, method="initialize", params=hello)
        hear(child, id=1)
        send(child, method="notifications/initialized")
        meta = {CLIENT_CAPABILITIES_META_KEY: capable}
        call = {"name": "train_lora", "arguments": {"steps": 50_000, "rank": 2}, "_meta": meta}
        send(child, id=2, method="tools/call", params=call)
        job_id = hear(child, id=2)["result"]["structuredContent"]["job"]["job_id"]
        send(child, id=3, method="tasks/get", params={"taskId": job_id, "_meta": meta})
        assert hear(child, id=3)["error"]["code"] == -32601
        send(child, id=4, method="tools/call", params={"name": "cancel_job", "arguments": {"job_id": job_id}})
        assert hear(child, id=4)["result"]["structuredContent"]["jobs"][0]["status"] == "cancelled"
