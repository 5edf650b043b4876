"""Thousands of mixed calls to one server over stdio: its memory stays flat, and no file stays open."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import psutil
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

from tests.server.deploy import crash

_SERVER = Path(__file__).parents[1] / "server" / "protocol" / "fake_server.py"
WORDS = ("red dragon", "mossy golem", "blue key", "gold coin", "green slime")


def soak(folder: Path, calls: int = 3000) -> dict[str, float]:
    """Makes the calls and returns memory (MB) and open files of the server after a third of them, and at the end."""
    root = folder / "soak"
    crash.make_game(root)
    return anyio.run(_soak, root, calls)


async def _soak(root: Path, calls: int) -> dict[str, float]:
    transport = StdioTransport(sys.executable, [str(_SERVER), str(root.parent / "soak-data"), "1"], cwd=str(root))
    answers: Counter[str] = Counter()
    started = time.monotonic()
    async with Client(transport) as client:
        server = next(p for p in psutil.Process().children(recursive=True) if str(_SERVER) in p.cmdline())
        draw = random.Random(0)
        known: list[str] = []
        first: tuple[int, int] = (0, 0)
        for number in range(calls):
            if number == calls // 3:
                first = server.memory_info().rss, server.num_fds()
            name, arguments = _call(draw, known, root)
            try:
                answer = (await client.call_tool(name, arguments)).structured_content or {}
                answers["done"] += 1
            except ToolError as error:
                answers["refused"] += 1
                if "left to undo" not in str(error):
                    print(f"  {name}: {error}")
                    answers["failed"] += 1
                continue
            if name == "generate_sprite" and len(known) < 40:
                known.extend(sprite["asset_id"] for sprite in answer["sprites"])
        last = server.memory_info().rss, server.num_fds()
    megabyte = 1 << 20
    return {
        **answers,
        "memory_after_a_third": round(first[0] / megabyte, 1),
        "memory_at_the_end": round(last[0] / megabyte, 1),
        "growth_percent": round(100 * (last[0] / first[0] - 1), 2),
        "files_after_a_third": first[1],
        "files_at_the_end": last[1],
        "seconds": round(time.monotonic() - started),
    }


def _call(draw: random.Random, known: list[str], root: Path) -> tuple[str, dict[str, Any]]:
    kind = draw.randrange(10) if known else 0
    place = draw.choice(("hero.png", "units/orc.png", "tiles/grass.png"))
    match kind:
        case 0 | 1:
            return "generate_sprite", {"prompt": draw.choice(WORDS), "seed": draw.randrange(8), "size": 16}
        case 2 | 3 | 4:
            chosen = draw.choice(known)
            return "deploy_asset", {"asset_id": chosen, "path": place, "overwrite": True, "verify": False}
        case 5 | 6:
            return "undo_deploy", {}
        case 7:
            return "list_assets", {"limit": 20}
        case 8:
            return "fix_pixel_art", {"picture": str(root / ".dgx-pixels/assets" / draw.choice(known) / "sprite.png")}
        case _:
            return "get_status", {}
