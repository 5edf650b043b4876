"""Deploying and undoing: what is in assets/ afterwards, and what never is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.records import Recipe
from server.deploy.bundle import Bundle, put, take_back
from server.deploy.deploy import Verify, deploy, deployed_names, undo
from server.errors import DeployError, LibraryError, ProjectError
from server.library.records import Asset, Verification
from server.project.game import Project
from server.studio import Studio


def add(studio: Studio, data: bytes, prompt: str = "mossy stone golem", **more: bytes) -> Asset:
    files = {"sprite.png": data, **{name.replace("__", "."): text for name, text in more.items()}}
    recipe = Recipe("sprite", prompt, 32, 32, seed=len(data))
    return studio.library(studio.project()).add("sprite", files, recipe)


def test_a_sprite_goes_where_it_was_sent(studio: Studio, golem: Asset, game: Path) -> None:
    done = deploy(studio, golem.id, "monsters/golem.png")
    assert (game / "assets/monsters/golem.png").read_bytes() == b"golem"
    assert (done.state, done.paths) == ("written", ("monsters/golem.png",))
    assert done.verification.state == "game_not_running"


def test_a_sprite_without_a_path_is_named_by_its_prompt(studio: Studio, golem: Asset, game: Path) -> None:
    assert deploy(studio, golem.id).paths == ("sprites/mossy_stone_golem.png",)


def test_the_same_bytes_are_left_alone(studio: Studio, golem: Asset, game: Path) -> None:
    deploy(studio, golem.id, "golem.png")
    before = (game / "assets/golem.png").stat()
    assert deploy(studio, golem.id, "golem.png").state == "identical"
    after = (game / "assets/golem.png").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_another_file_is_replaced_only_when_asked_and_comes_back(studio: Studio, golem: Asset, game: Path) -> None:
    target = game / "assets/golem.png"
    target.write_bytes(b"drawn by hand")
    with pytest.raises(DeployError, match="overwrite=true"):
        deploy(studio, golem.id, "golem.png")
    assert target.read_bytes() == b"drawn by hand"
    assert deploy(studio, golem.id, "golem.png", overwrite=True).state == "replaced"
    assert target.read_bytes() == b"golem"
    undo(studio, "golem.png")
    assert target.read_bytes() == b"drawn by hand"


def test_undo_goes_back_step_by_step_to_no_file(studio: Studio, game: Path) -> None:
    first, second = add(studio, b"one"), add(studio, b"two!")
    deploy(studio, first.id, "a.png")
    deploy(studio, second.id, "a.png", overwrite=True)
    undo(studio)
    assert (game / "assets/a.png").read_bytes() == b"one"
    undo(studio)
    assert not (game / "assets/a.png").exists()
    with pytest.raises(DeployError, match="left to undo"):
        undo(studio)


def test_undo_does_not_lose_what_was_changed_since(studio: Studio, golem: Asset, game: Path) -> None:
    deploy(studio, golem.id, "golem.png")
    (game / "assets/golem.png").write_bytes(b"touched up by hand")
    with pytest.raises(DeployError, match="changed after"):
        undo(studio)
    assert (game / "assets/golem.png").read_bytes() == b"touched up by hand"
    undo(studio, overwrite=True)
    assert not (game / "assets/golem.png").exists()


def test_companions_take_the_picture_s_name_and_refer_to_it(studio: Studio, game: Path) -> None:
    asset = add(studio, b"sheet", layout__json=b'{"image": "sprite.png"}', strip__png=b"strip", preview__png=b"look")
    done = deploy(studio, asset.id, "units/hero.png")
    assert set(done.paths) == {"units/hero.png", "units/hero.json", "units/hero_strip.png"}
    assert (game / "assets/units/hero.json").read_bytes() == b'{"image": "hero.png"}'
    undo(studio)
    assert not list((game / "assets/units").iterdir())


def test_a_layout_that_changed_alone_is_undone_by_the_picture_s_path(studio: Studio, game: Path) -> None:
    first, second = add(studio, b"sheet", a__json=b"{}"), add(studio, b"sheet", a__json=b"[]")
    deploy(studio, first.id, "hero.png")
    deploy(studio, second.id, "hero.png", overwrite=True)
    undo(studio, "hero.png")
    assert (game / "assets/hero.json").read_bytes() == b"{}"
    undo(studio, "hero.png")
    assert not list((game / "assets").iterdir())


def test_a_file_of_a_later_deploy_is_named(studio: Studio, game: Path) -> None:
    sheet = add(studio, b"sheet", strip__png=b"strip", other__png=b"other")
    deploy(studio, sheet.id, "hero.png")
    (place,) = (name for name in deployed_names(sheet, "hero.png").values() if name.endswith("_other.png"))
    deploy(studio, add(studio, b"another").id, place, overwrite=True)
    with pytest.raises(DeployError, match=f"deployed again with {place}"):
        undo(studio, "hero.png")
    undo(studio)
    undo(studio)
    assert not list((game / "assets").iterdir())


def test_names_of_companions_never_clash(studio: Studio) -> None:
    asset = add(studio, b"x", a__json=b"{}", b__json=b"{}")
    assert list(deployed_names(asset, "t/x.png").values()) == ["t/x.png", "t/x.json", "t/x_b.json"]


def test_the_games_answer_is_kept_with_the_deployment(studio: Studio, golem: Asset, game: Path) -> None:
    seen: list[bytes | None] = []

    def witness(_: Project, paths: tuple[str, ...]) -> Verify:
        seen.append((game / "assets" / paths[0]).read_bytes() if (game / "assets" / paths[0]).exists() else None)
        return lambda files: Verification("reloaded", f"The game shows {len(files)} file.")

    done = deploy(studio, golem.id, "golem.png", witness=witness)
    assert (done.verification.state, seen) == ("reloaded", [None])
    assert studio.library(studio.project()).deployments()[0].verification == "reloaded"


def test_an_unknown_asset_and_a_malformed_id_are_named(studio: Studio, game: Path) -> None:
    with pytest.raises(LibraryError, match="no asset 0123"):
        deploy(studio, "0123456789ab")
    with pytest.raises(LibraryError, match="not an asset id"):
        deploy(studio, "../../etc/passwd")
    assert not list((game / "assets").iterdir())


def test_without_a_game_the_error_shows_how_to_name_it(
    studio: Studio, golem: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="project="):
        deploy(studio, golem.id)


DEPLOY_IN_A_CHILD = """
import os, resource, signal, sys
from pathlib import Path
from server.deploy.deploy import deploy
from server.errors import ServerError
from server.settings import Settings
from server.studio import Studio

limit, user, asset_id, data = sys.argv[1:]
if int(user):
    os.setuid(int(user))
if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    deploy(Studio(Settings(data_dir=Path(data))), asset_id, "deep/golem.png", overwrite=True, verify=False)
except ServerError as error:
    print(error)
    sys.exit(3)
"""


def in_a_child(asset: Asset, tmp_path: Path, *, limit: int = 0, user: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DEPLOY_IN_A_CHILD, str(limit), str(user), asset.id, str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_full_disk_leaves_the_old_sprite(studio: Studio, game: Path, tmp_path: Path) -> None:
    asset = add(studio, bytes(300_000))
    (game / "assets/deep").mkdir()
    (game / "assets/deep/golem.png").write_bytes(b"old")
    before = everything(game / "assets")
    child = in_a_child(asset, tmp_path, limit=200_000)
    assert child.returncode == 3, child.stderr
    assert "no room left" in child.stdout
    assert everything(game / "assets") == before
    assert not list((game / ".dgx-pixels/staging").iterdir())
    assert not studio.library(studio.project()).deployments()


def test_a_read_only_assets_folder_is_named_and_stays_as_it_was(studio: Studio, game: Path, tmp_path: Path) -> None:
    asset = add(studio, b"golem")
    (game / "assets/deep").mkdir()
    (game / "assets/deep/golem.png").write_bytes(b"old")
    nobody = 0
    if os.getuid() == 0:  # root may write anything: the child becomes somebody else, who owns all but the folder
        nobody = 65534
        for path in [*tmp_path.parents][:3]:
            path.chmod(path.stat().st_mode | 0o055)
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, nobody, nobody)
    (game / "assets/deep").chmod(0o555)
    child = in_a_child(asset, tmp_path, user=nobody)
    (game / "assets/deep").chmod(0o755)
    assert child.returncode == 3, child.stderr
    assert "Permission denied" in child.stdout
    assert everything(game / "assets") == {"deep/golem.png": b"old"}
    assert not list((game / ".dgx-pixels/staging").iterdir())
    assert not studio.library(studio.project()).deployments()


REQUEST = "0123456789abcdef" * 2


def bundle(data: bytes, *, overwrite: bool = False) -> Bundle:
    return Bundle("0123456789ab", "hero.png", {"hero.png": data}, overwrite, verify=False)


def test_a_request_that_arrives_twice_is_applied_once(studio: Studio, game: Path) -> None:
    project = studio.require_project()
    library = studio.library(project)
    first = put(project, library, bundle(b"hero"), request=REQUEST)
    (game / "assets/hero.png").write_bytes(b"touched up by hand")
    again = put(project, library, bundle(b"hero"), request=REQUEST)
    assert first.deployment
    assert again.deployment
    assert (first.state, again.state, first.deployment.id) == ("written", "written", again.deployment.id)
    assert (game / "assets/hero.png").read_bytes() == b"touched up by hand"
    assert len(library.deployments()) == 1


def test_an_undo_that_arrives_twice_goes_back_one_step(studio: Studio, game: Path) -> None:
    project = studio.require_project()
    library = studio.library(project)
    put(project, library, bundle(b"one"))
    put(project, library, bundle(b"two", overwrite=True))
    for _ in range(2):
        assert take_back(project, library, verify=False, request=REQUEST).paths == ("hero.png",)
        assert (game / "assets/hero.png").read_bytes() == b"one"


def test_a_request_that_was_refused_may_come_again(studio: Studio, game: Path) -> None:
    project = studio.require_project()
    library = studio.library(project)
    (game / "assets/hero.png").write_bytes(b"drawn by hand")
    with pytest.raises(DeployError, match="overwrite=true"):
        put(project, library, bundle(b"hero"), request=REQUEST)
    (game / "assets/hero.png").unlink()
    assert put(project, library, bundle(b"hero"), request=REQUEST).state == "written"
