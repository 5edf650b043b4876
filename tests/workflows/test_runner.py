"""A workflow runs as its file says, names mistakes with their place, and continues after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from pipelines.errors import InvalidRequest
from pipelines.records import OnProgress
from workflows.errors import WorkflowError
from workflows.load import line_of, parse
from workflows.runner import Operation, run_workflow

BATCH: dict[str, Any] = {
    "name": "batch",
    "inputs": {
        "subjects": {"type": "table"},
        "size": {"type": "integer", "default": 32},
        "seed": {"type": "integer", "default": None},
    },
    "steps": [
        {
            "name": "draw",
            "do": "generate",
            "for_each": "${inputs.subjects}",
            "with": {"prompt": "a ${item.prompt}", "size": "${inputs.size}", "seed": "${inputs.seed}"},
        },
        {
            "name": "place",
            "do": "deploy",
            "for_each": "${steps.draw}",
            "with": {"asset_id": "${item.asset_id}", "path": "items/${item.item.name}.png"},
        },
    ],
    "outputs": {"assets": "${steps.draw}", "paths": "${steps.place}"},
}


class Generate(BaseModel):
    prompt: str
    size: int = 32
    seed: int = 0


class Deploy(BaseModel):
    asset_id: str
    path: str


def operations(log: Path, pause: float = 0.0) -> dict[str, Operation[Any]]:
    """Two operations that write down each call; a prompt with 'broken' in it fails."""

    def note(line: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def generate(arguments: Generate, on_progress: OnProgress) -> dict[str, Any]:
        if "broken" in arguments.prompt:
            raise InvalidRequest("This prompt cannot be drawn. Use another.")
        deadline = time.monotonic() + pause
        while time.monotonic() < deadline:
            on_progress(0, 1, "drawing")
        note(f"generate {arguments.prompt}")
        return {"asset_id": arguments.prompt.replace(" ", "-"), "seed": arguments.seed}

    def deploy(arguments: Deploy, on_progress: OnProgress) -> dict[str, Any]:
        note(f"deploy {arguments.path}")
        return {"path": arguments.path}

    return {"generate": Operation(Generate, generate), "deploy": Operation(Deploy, deploy)}


def run(tmp_path: Path, workflow: dict[str, Any], given: dict[str, Any], **kwargs: Any) -> Any:
    text = json.dumps(workflow, indent=2)
    ops = operations(tmp_path / "log.txt", **kwargs)
    return run_workflow(parse(text), text, given, ops, tmp_path, tmp_path / "runs")


def test_each_item_goes_through_every_step_and_comes_out_by_name(tmp_path: Path) -> None:
    result = run(tmp_path, BATCH, {"subjects": ["red potion", {"prompt": "key", "name": "Gold Key"}]})
    assert [r["path"] for r in result.outputs["paths"]] == ["items/red_potion.png", "items/gold_key.png"]
    assert result.failed == []


def test_one_bad_item_is_its_own_line_and_the_others_are_made(tmp_path: Path) -> None:
    result = run(tmp_path, BATCH, {"subjects": ["potion", "broken thing", "key"]})
    assert [f["error"] for f in result.failed] == ["This prompt cannot be drawn. Use another."]
    assert [r["path"] for r in result.outputs["paths"]] == ["items/potion.png", "items/key.png"]


def test_an_unfinished_run_continues_where_it_was_and_does_nothing_twice(tmp_path: Path) -> None:
    subjects = ["potion", "broken thing", "key"]
    first = run(tmp_path, BATCH, {"subjects": subjects})
    second = run(tmp_path, BATCH, {"subjects": subjects})
    assert second.run == first.run
    assert second.resumed == 4
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 4
    seeds = {a["seed"] for a in second.outputs["assets"]}
    assert len(seeds) == 1


def test_an_item_that_succeeds_the_second_time_goes_through_all_later_steps(tmp_path: Path) -> None:
    text = json.dumps(BATCH)
    working = operations(tmp_path / "log.txt")
    broken = {**working, "generate": Operation(Generate, _fails_once(working["generate"].run))}
    given = {"subjects": ["potion", "key", "ring"]}
    run_workflow(parse(text), text, given, broken, tmp_path, tmp_path / "runs")
    second = run_workflow(parse(text), text, given, working, tmp_path, tmp_path / "runs")
    assert [r["path"] for r in second.outputs["paths"]] == ["items/potion.png", "items/key.png", "items/ring.png"]
    assert (second.done, second.resumed) == (2, 4)


def _fails_once(run: Any) -> Any:
    failures = [InvalidRequest("The disk is full.")]

    def generate(arguments: Generate, on_progress: OnProgress) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return run(arguments, on_progress)

    return generate


def test_a_batch_is_done_together_and_a_bad_item_leaves_the_others_alone(tmp_path: Path) -> None:
    chunks: list[list[str]] = []
    ops = operations(tmp_path / "log.txt")

    def many(several: Sequence[Generate], on_progress: OnProgress) -> list[Any]:
        chunks.append([a.prompt for a in several])
        good = "broken" not in chunks[-1][-1] or len(chunks) > 3
        return [{"asset_id": a.prompt} if good or a is not several[-1] else InvalidRequest("no") for a in several]

    ops["generate"] = Operation(Generate, ops["generate"].run, many, 2)
    text = json.dumps(BATCH)
    given = {"subjects": ["a", "b", "c", "broken d", "e", "f"]}
    first = run_workflow(parse(text), text, given, ops, tmp_path, tmp_path / "runs")
    assert chunks == [["a a", "a b"], ["a c", "a broken d"], ["a e", "a f"]]
    assert [f["index"] for f in first.failed] == [3]
    second = run_workflow(parse(text), text, given, ops, tmp_path, tmp_path / "runs")
    assert chunks[3:] == [["a c", "a broken d"]]  # the same items together, so that the same comes out
    assert len(second.outputs["paths"]) == 6
    assert second.done == 2


def test_a_finished_run_is_not_taken_up_again(tmp_path: Path) -> None:
    first = run(tmp_path, BATCH, {"subjects": ["potion"]})
    second = run(tmp_path, BATCH, {"subjects": ["potion"]})
    assert second.run != first.run
    assert second.resumed == 0


def _run_in_child(folder: Path, subjects: list[str]) -> None:
    run(folder, BATCH, {"subjects": subjects}, pause=0.01)


def test_a_killed_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    subjects = [f"thing {i}" for i in range(12)]
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_run_in_child, args=(tmp_path, subjects))
    child.start()
    log = tmp_path / "log.txt"
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().splitlines()) >= 4):
        assert time.monotonic() < deadline
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    result = run(tmp_path, BATCH, {"subjects": subjects})
    assert len(result.outputs["paths"]) == 12
    assert result.resumed >= 3
    lines = log.read_text().splitlines()
    assert len(set(lines)) == 24
    assert len(lines) <= 25  # only the item under way at the kill may have been begun twice


def test_a_torn_last_line_is_done_again(tmp_path: Path) -> None:
    given = {"subjects": ["broken thing", "potion"]}
    first = run(tmp_path, BATCH, given)
    journal = tmp_path / "runs" / first.run / "done.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    second = run(tmp_path, BATCH, given)
    assert [r["path"] for r in second.outputs["paths"]] == ["items/potion.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w["steps"][0]["with"].update(prompt="${inputs.word}"), "no input 'word'"),
        (lambda w: w["steps"][0]["with"].update(prompt="${steps.place.path}"), "cycle"),
        (lambda w: w["steps"][0]["with"].update(prompt="${steps.gone.path}"), "no step 'gone'"),
        (lambda w: w["steps"][0]["with"].update(colour=3), "takes no 'colour'"),
        (lambda w: w["steps"][0]["with"].update(size="large"), "'size' of 'generate' cannot be"),
        (lambda w: w["steps"][1].update(do="delete_everything"), "no operation 'delete_everything'"),
        (lambda w: w["steps"][1].update(name="draw"), "Two steps are called 'draw'"),
        (lambda w: w["steps"][1]["with"].pop("path"), "needs: path"),
        (lambda w: w["inputs"]["size"].update(type="whole"), "Input should be"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path: Path, change: Any, message: str) -> None:
    workflow = json.loads(json.dumps(BATCH))
    change(workflow)
    with pytest.raises(WorkflowError, match=message) as caught:
        run(tmp_path, workflow, {"subjects": ["potion"]})
    assert caught.value.where
    assert caught.value.line > 1


def test_broken_json_is_named_with_its_line() -> None:
    with pytest.raises(WorkflowError, match="line 3"):
        parse('{\n "name": "x",\n "steps": [}\n')


TABLES = {
    "list.txt": "red potion\nblue potion\n",
    "no_prompt.csv": "subject;name\nred potion;red\n",
    "empty_prompt.csv": "prompt,name\nred potion,red\n,blue\n",
    "open_quote.csv": 'prompt,name\n"red potion,red\n',
    "latin1.csv": "prompt,name\ngrün,g\n",
    "mistake.json": '["a",\n',
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "required"),
        ({"subjects": ["a"], "size": "big"}, "must be of type integer"),
        ({"subjects": ["a"], "colour": 1}, "no input 'colour'"),
        ({"subjects": "missing.csv"}, "cannot be read"),
        ({"subjects": "../outside.csv"}, "leads out of the project"),
        ({"subjects": [{"name": "no prompt"}]}, r"subjects\[0\]: This row has no 'prompt'"),
        ({"subjects": "list.txt"}, "'list.txt' is not a table"),
        ({"subjects": "misspelled.xlsx"}, "'misspelled.xlsx' is not a table"),
        ({"subjects": "no_prompt.csv"}, r"no_prompt\.csv, line 1: the header is 'subject, name'.*named 'prompt'"),
        ({"subjects": "empty_prompt.csv"}, r"empty_prompt\.csv, line 3: .*no 'prompt'.*header is 'prompt, name'"),
        ({"subjects": "open_quote.csv"}, r"open_quote\.csv, line 2: a double quote is opened"),
        ({"subjects": "latin1.csv"}, r"latin1\.csv, line 2: .*UTF-8"),
        ({"subjects": "mistake.json"}, r"mistake\.json, line 2"),
    ],
)
def test_a_wrong_input_is_refused_before_anything_runs(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    for name, text in TABLES.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(WorkflowError, match=message):
        run(tmp_path, BATCH, given)
    assert not (tmp_path / "log.txt").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("items.csv", b"name,prompt\nhp,red potion\nmp,blue potion\n"),
        ("items.csv", "\ufeffPROMPT;Name\r\nred potion;hp\r\n;\r\nblue potion;mp\r\n".encode()),
        ("items.CSV", "prompt,name\nred potion,hp\nblue potion,mp\n".encode("utf-16")),
        ("items.tsv", b"prompt\tname\nred potion\thp\nblue potion\tmp\n"),
        ("items.json", '\ufeff[{"Prompt": "red potion", "name": "hp"}, {"prompt": "b", "name": "mp"}]'.encode()),
    ],
    ids=["comma", "semicolon with bom", "utf-16", "tab", "json with bom"],
)
def test_a_table_file_gives_the_items(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    result = run(tmp_path, BATCH, {"subjects": name})
    assert [r["path"] for r in result.outputs["paths"]] == ["items/hp.png", "items/mp.png"]


def test_a_column_is_found_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("prompt,name,Folder\nred potion,hp,food\n", encoding="utf-8")
    workflow = json.loads(json.dumps(BATCH).replace("items/", "${item.item.folder}/"))
    result = run(tmp_path, workflow, {"subjects": "items.csv"})
    assert [r["path"] for r in result.outputs["paths"]] == ["food/hp.png"]


def test_the_line_of_a_path_is_found() -> None:
    text = json.dumps(BATCH, indent=2)
    line = line_of(text, "steps[1].with.path")
    assert '"path": "items/' in text.splitlines()[line - 1]
