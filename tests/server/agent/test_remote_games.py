"""A game on another machine is used through its agent as if it were here."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp.exceptions import ToolError

from pipelines.pixels.png import encode_png, read_picture
from server.agent import routes
from server.agent.client import Agent, Refused
from server.agent.work import LocalGame
from server.desk.remote import Address, RemoteDesk
from server.settings import Settings
from server.users import Users
from tests.fakes import fake_picture
from tests.server.agent.conftest import NAME, OPERATOR, Connect, Run, call, drawn, until_connected
from tests.server.deploy.bevy.standin import StandIn


@pytest.mark.anyio
async def test_a_sprite_is_deployed_verified_listed_and_undone(
    connect: Connect, run: Run, ann: str, keep: Path, settings: Settings
) -> None:
    hero = keep / "assets/sprites/hero.png"
    hero.parent.mkdir()
    hero.write_bytes(encode_png(fake_picture("before", 1, 16, 16)))
    before = hero.read_bytes()
    with (
        StandIn(keep / "assets", held=("sprites/hero.png",)) as running,
        run(ann, root=Path(f"{keep}:{running.port}")),
    ):
        async with connect(ann) as client:
            await until_connected(client)
            asset = await drawn(client)
            done = await call(
                client, "deploy_asset", asset_id=asset, path="sprites/hero.png", project=NAME, overwrite=True
            )
            assert (done["state"], done["verification"], done["project"]) == ("replaced", "reloaded", NAME)
            assert done["paths"] == [str(hero)]
            assert hero.read_bytes() != before
            (listed,) = (await call(client, "list_assets", project=NAME))["assets"]
            assert listed["deployed"] == ["sprites/hero.png"]
            status = await call(client, "get_status", project=NAME)
            assert [entry["path"] for entry in status["deployments"]] == ["sprites/hero.png"]
            back = await call(client, "undo_deploy", path="sprites/hero.png", project=NAME)
            assert (back["state"], back["verification"], back["asset_id"]) == ("undone", "reloaded", asset)
    assert hero.read_bytes() == before
    assert (keep / ".dgx-pixels/library.sqlite").exists()
    assert not (settings.data_dir / "users/ann/games/keep/assets").exists()


@pytest.mark.anyio
async def test_a_workflow_deploys_into_it(connect: Connect, run: Run, ann: str, keep: Path) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            inputs = {"subjects": "red potion, gold key", "size": 16}
            await call(client, "run_workflow", workflow="batch", inputs=inputs, project=NAME)
            with pytest.raises(ToolError, match="another machine"):
                await call(client, "run_workflow", workflow="fix_folder", inputs={"folder": "raw"}, project=NAME)
    assert sorted(file.name for file in (keep / "assets/sprites").iterdir()) == ["gold_key.png", "red_potion.png"]


@pytest.mark.anyio
async def test_a_terminal_studio_deploys_into_it(connect: Connect, port: int, run: Run, ann: str, keep: Path) -> None:
    desk = RemoteDesk(lambda: Address("127.0.0.1", port, ann), NAME)

    def work(asset: str) -> None:
        home = desk.home()
        assert (home.game, home.root) == ("keep", NAME)
        assert desk.deploy(asset, "a.png").state == "written"
        assert desk.find()[0][0].deployed == ("a.png",)
        assert desk.check()
        assert desk.undo().state == "undone"

    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            await anyio.to_thread.run_sync(work, await drawn(client))
    assert not list((keep / "assets").iterdir())


@pytest.mark.anyio
async def test_a_users_one_game_needs_no_name(connect: Connect, run: Run, ann: str, keep: Path) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            answer = await call(client, "generate_sprite", prompt="red dragon", candidates=1)
            await call(client, "deploy_asset", asset_id=answer["asset_id"], verify=False)
    assert (keep / "assets/sprites/red_dragon.png").exists()


@pytest.mark.anyio
async def test_the_project_is_checked_where_it_is(connect: Connect, run: Run, ann: str, keep: Path) -> None:
    (keep / "dgx-pixels.toml").write_text("size = 16\n")
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            found = await call(client, "check_project", project=NAME)
    assert (found["project"], found["assets"]) == (NAME, str(keep / "assets"))
    assert found["style_file"] == str(keep / "dgx-pixels.toml")
    assert len(found["findings"]) > 3


@pytest.mark.anyio
async def test_style_and_palette_of_the_game_are_used_and_followed(
    connect: Connect, run: Run, ann: str, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "POLL_SECONDS", 0.05)
    (keep / "art").mkdir()
    (keep / "art/keep.hex").write_text("112233\n445566\n")
    (keep / "dgx-pixels.toml").write_text('size = 16\npalette = "art/keep.hex"\n')
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            await drawn(client)
            (listed,) = (await call(client, "list_assets", project=NAME))["assets"]
            picture = read_picture(Path(listed["paths"][0]))
            used = {bytes(pixel[:3]).hex() for pixel in picture.reshape(-1, 4) if pixel[3]}
            assert picture.shape == (16, 16, 4)
            assert used <= {"112233", "445566"}
            (keep / "dgx-pixels.toml").write_text("size = 8\n")
            with anyio.fail_after(30):
                while (await call(client, "get_status", project=NAME))["project"]["style"]["size"] != 8:
                    await anyio.sleep(0.02)


@pytest.mark.anyio
async def test_another_user_and_the_operator_may_not_use_the_game(
    connect: Connect, run: Run, ann: str, users: Users, keep: Path
) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            asset = await drawn(client)
        for token, message in ((users.add("bob"), "not one of your games"), (OPERATOR, "There is no folder")):
            async with connect(token) as other:
                for tool, arguments in (
                    ("deploy_asset", {"asset_id": asset}),
                    ("undo_deploy", {}),
                    ("list_assets", {}),
                    ("check_project", {}),
                ):
                    with pytest.raises(ToolError, match=message):
                        await call(other, tool, project=NAME, **arguments)
    assert not list((keep / "assets").iterdir())


@pytest.mark.anyio
async def test_without_its_agent_a_game_is_drawn_for_and_not_written_to(
    connect: Connect, run: Run, ann: str, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
    monkeypatch.setattr("server.agent.line.GONE", 0.0)
    async with connect(ann) as client:
        asset = await drawn(client)
        with pytest.raises(ToolError, match="dgx-pixels agent ann/keep"):
            await call(client, "deploy_asset", asset_id=asset, project=NAME)
        assert (await call(client, "list_assets", project=NAME))["total"] == 1
    assert not list((keep / "assets").iterdir())


@pytest.mark.anyio
async def test_a_name_that_no_agent_registered_says_how_to(connect: Connect, ann: str) -> None:
    async with connect(ann) as client:
        with pytest.raises(ToolError, match="dgx-pixels agent ann/keep"):
            await call(client, "list_assets", project=NAME)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("train_lora", {"name": "mine"}, "data:image/png"),
        ("fix_pixel_art", {"picture": "assets/hero.png"}, "data:image/png"),
    ],
)
async def test_what_needs_the_games_own_files_says_what_to_send(
    connect: Connect, run: Run, ann: str, tool: str, arguments: dict[str, Any], message: str
) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            with pytest.raises(ToolError, match=message):
                await call(client, tool, project=NAME, **arguments)


@pytest.mark.anyio
async def test_a_file_in_the_way_is_named_as_on_its_machine(connect: Connect, run: Run, ann: str, keep: Path) -> None:
    (keep / "assets/hero.png").write_bytes(b"drawn by hand")
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            asset = await drawn(client)
            with pytest.raises(ToolError, match="overwrite=true") as refused:
                await call(client, "deploy_asset", asset_id=asset, path="hero.png", project=NAME)
    assert str(keep / "assets/hero.png") in str(refused.value)
    assert (keep / "assets/hero.png").read_bytes() == b"drawn by hand"


@pytest.mark.anyio
async def test_an_agent_goes_on_when_its_server_was_started_again(
    serve: Callable[..., Any], run: Run, ann: str, keep: Path
) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StreamableHttpTransport

    with socket.create_server(("127.0.0.1", 0)) as free:
        at = int(free.getsockname()[1])
    news: list[str] = []
    with run(ann, at=at, say=news.append):
        for number in range(2):
            with serve(at):
                async with Client(StreamableHttpTransport(f"http://127.0.0.1:{at}/mcp", auth=ann)) as client:
                    await until_connected(client)
                    asset = await drawn(client, seed=number)
                    await call(client, "deploy_asset", asset_id=asset, path=f"a{number}.png", project=NAME)
    assert sorted(file.name for file in (keep / "assets").iterdir()) == ["a0.png", "a1.png"]
    assert "The server is there again." in news


@pytest.mark.parametrize(
    ("name", "token"), [(NAME, "a token of nobody"), ("bob/keep", "{ann}")], ids=["wrong token", "another's name"]
)
def test_an_agent_whose_token_is_not_the_users_is_refused(
    port: int, ann: str, keep: Path, users: Users, settings: Settings, name: str, token: str
) -> None:
    users.add("bob")
    agent = Agent(Address("127.0.0.1", port, token.replace("{ann}", ann)), name, LocalGame(keep), lambda _: None)
    with pytest.raises(Refused, match="DGX_PIXELS_HTTP_TOKEN"):
        agent.run()
    assert not (settings.data_dir / "users").exists()


@pytest.mark.anyio
async def test_a_second_agent_takes_over_and_the_first_ends(
    port: int, connect: Connect, run: Run, ann: str, keep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "POLL_SECONDS", 0.05)
    other = tmp_path / "other"
    (other / "assets").mkdir(parents=True)
    (other / "dgx-pixels.toml").write_text("size = 8\n")
    ended: list[str] = []

    def first() -> None:
        try:
            Agent(Address("127.0.0.1", port, ann), NAME, LocalGame(keep), lambda _: None).run()
        except Refused as error:
            ended.append(str(error))

    thread = threading.Thread(target=first)
    thread.start()
    async with connect(ann) as client:
        await until_connected(client)
        with run(ann, root=other):
            await anyio.to_thread.run_sync(thread.join)
            asset = await drawn(client)
            await call(client, "deploy_asset", asset_id=asset, path="a.png", project=NAME)
    assert "Another agent" in ended[0]
    assert [file.name for file in (other / "assets").iterdir()] == ["a.png"]
    assert not list((keep / "assets").iterdir())


@pytest.mark.anyio
async def test_deploys_into_it_are_in_the_audit_file(connect: Connect, run: Run, ann: str, settings: Settings) -> None:
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            await call(client, "deploy_asset", asset_id=await drawn(client), project=NAME)
    lines = [json.loads(line) for line in (settings.data_dir / "audit.jsonl").read_text().splitlines()]
    assert [(line["tool"], line["project"]) for line in lines] == [
        ("agent: register", NAME),
        ("generate_sprite", NAME),
        ("deploy_asset", NAME),
    ]


@pytest.mark.anyio
async def test_a_bundle_that_is_too_large_to_send_is_refused_here(
    connect: Connect, run: Run, ann: str, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.agent.games.MOST_FILE_BYTES", 10)
    with run(ann):
        async with connect(ann) as client:
            await until_connected(client)
            with pytest.raises(ToolError, match="too much for a game on another machine"):
                await call(client, "deploy_asset", asset_id=await drawn(client), project=NAME)
    assert not list((keep / "assets").iterdir())


@pytest.mark.anyio
async def test_a_style_that_cannot_be_read_is_said_once_and_the_last_one_stays(
    connect: Connect, run: Run, ann: str, keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "POLL_SECONDS", 0.02)
    (keep / "dgx-pixels.toml").write_text("size = 16\n")
    news: list[str] = []
    with run(ann, say=news.append):
        async with connect(ann) as client:
            await until_connected(client)
            (keep / "dgx-pixels.toml").write_text("size = \n")
            with anyio.fail_after(30):
                while not news:
                    await anyio.sleep(0.01)
            for _ in range(5):
                status = await call(client, "get_status", project=NAME)
                assert status["project"]["style"]["size"] == 16
    assert len(news) == 1
    assert "is not TOML" in news[0]
