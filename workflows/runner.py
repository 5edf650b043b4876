"""Run a workflow step by step and item by item, and record what is done so that a killed run can be resumed.

The operations are passed in (name -> Operation), so this package imports neither the studio nor a tool. An item that
fails is recorded and does not stop the others; a step without for_each that fails ends the run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.errors import Cancelled, report
from pipelines.invalid import explain_invalid
from pipelines.records import OnProgress, no_progress
from workflows.errors import WorkflowError
from workflows.inputs import resolve_inputs
from workflows.journal import Entry, Journal, keys_of, open_run
from workflows.load import check_operations
from workflows.references import resolve
from workflows.schema import Step, Workflow

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Operation(Generic[M]):
    """What a step may do: `form` is the pydantic model of its arguments, `run` takes a valid one.

    `run_many`, where there is one, takes up to `batch` items of a step together and gives a result or an exception for
    each: drawings of one batch share the model's time. Both must be repeatable: a killed run calls them again, with
    the same items together.
    """

    form: type[M]
    run: Callable[[M, OnProgress], Any]
    run_many: Callable[[Sequence[M], OnProgress], Sequence[Any]] | None = None
    batch: int = 1


@dataclass(slots=True)
class RunResult:
    """What came out: `outputs` by name, the failed items, and how much was there already."""

    run: str
    outputs: dict[str, Any] = field(default_factory=dict)
    failed: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    resumed: int = 0


def run_workflow(
    workflow: Workflow,
    text: str,
    given: Mapping[str, Any],
    operations: Mapping[str, Operation[Any]],
    project: Path,
    runs: Path,
    on_progress: OnProgress = no_progress,
) -> RunResult:
    """Runs the workflow, or resumes the unfinished run of the same text and inputs below `runs`.

    Raises:
        WorkflowError: the workflow, its inputs or a single step cannot be carried out.
    """
    check_operations(workflow, {name: op.form for name, op in operations.items()}, text)
    values = resolve_inputs(workflow, given, project)
    if "seed" in values and values["seed"] is None:
        values["seed"] = secrets.randbelow(2**31)  # drawn once and kept, so that a resumed run draws the same pictures
    journal = open_run(runs, workflow.name, text, dict(given), {"workflow": text, "inputs": values})
    try:
        runner = _Run(workflow, operations, journal, on_progress)
        result = runner.carry_out()
        if not result.failed:
            journal.finish()
        return result
    finally:
        journal.close()


class _Run:
    def __init__(
        self,
        workflow: Workflow,
        operations: Mapping[str, Operation[Any]],
        journal: Journal,
        on_progress: OnProgress,
    ) -> None:
        self.workflow = workflow
        self.operations = operations
        self.journal = journal
        self.on_progress = on_progress
        self.scope: dict[str, Any] = {"inputs": journal.run["inputs"], "steps": {}}
        self.result = RunResult(run=journal.folder.name)

    def carry_out(self) -> RunResult:
        for i, step in enumerate(self.workflow.steps):
            where = f"steps[{i}]"
            if not resolve(step.when, self.scope, f"{where}.when"):
                self.scope["steps"][step.name] = [] if step.for_each is not None else {}
            elif step.for_each is None:
                self.scope["steps"][step.name] = self._single(step, where)
            else:
                self.scope["steps"][step.name] = self._each(step, where)
        self.result.outputs = resolve(self.workflow.outputs, self.scope, "outputs")
        return self.result

    def _single(self, step: Step, where: str) -> Any:
        arguments = resolve(step.with_, self.scope, f"{where}.with")
        (key,) = keys_of([arguments])
        if kept := self.journal.done(step.name, key):
            self.result.resumed += 1
            return kept.result
        try:
            operation = self.operations[step.do]
            result = operation.run(_valid(operation, arguments), self._stage(step.name, 0, 1))
        except Cancelled:
            raise
        except Exception as error:
            message = report(error)
            self.journal.write(Entry(step.name, 0, key, False, error=message))
            raise WorkflowError(f"step '{step.name}' failed: {message}", where=where) from error
        self.journal.write(Entry(step.name, 0, key, True, result))
        self.result.done += 1
        return result

    def _each(self, step: Step, where: str) -> list[Any]:
        items = resolve(step.for_each, self.scope, f"{where}.for_each")
        if not isinstance(items, list):
            raise WorkflowError(f"for_each needs a list, not {type(items).__name__}.", where=f"{where}.for_each")
        arguments = [
            resolve(step.with_, {**self.scope, "item": item, "index": index}, f"{where}.with")
            for index, item in enumerate(items)
        ]
        keys = keys_of(arguments)
        results = {i: kept.result for i, key in enumerate(keys) if (kept := self.journal.done(step.name, key))}
        self.result.resumed += len(results)
        operation = self.operations[step.do]
        size = operation.batch if operation.run_many else 1
        for start in range(0, len(items), size):
            # a chunk of which a part is done is done again as a whole: what is drawn depends on its neighbours
            chunk = range(start, min(start + size, len(items)))
            if all(index in results for index in chunk):
                continue
            stage = self._stage(step.name, len(results), len(items))
            outcomes = self._chunk(operation, [arguments[i] for i in chunk], stage)
            fresh = [
                Entry(step.name, i, keys[i], False, error=report(outcome))
                if isinstance(outcome, Exception)
                else Entry(step.name, i, keys[i], True, outcome)
                for i, outcome in zip(chunk, outcomes, strict=True)
                if i not in results
            ]
            self.journal.write(*fresh)
            for entry in fresh:
                if entry.ok:
                    results[entry.index] = entry.result
                    self.result.done += 1
                else:
                    asked = arguments[entry.index]
                    self.result.failed.append(
                        {"step": step.name, "index": entry.index, "arguments": asked, "error": entry.error}
                    )
        if items and not results:
            raise WorkflowError(_none_done(step.name, self.result.failed), where=where)
        return [
            {**results[i], "item": items[i]} if isinstance(results[i], dict) else results[i] for i in sorted(results)
        ]

    def _chunk(
        self, operation: Operation[Any], arguments: Sequence[Mapping[str, Any]], stage: OnProgress
    ) -> Sequence[Any]:
        """Returns a result or an exception for each item."""
        outcomes: list[Any] = []
        for one in arguments:
            try:
                outcomes.append(_valid(operation, one))
            except WorkflowError as error:
                outcomes.append(error)
        valid = [i for i, outcome in enumerate(outcomes) if not isinstance(outcome, WorkflowError)]
        if operation.run_many and len(arguments) > 1:
            results = operation.run_many([outcomes[i] for i in valid], stage) if valid else ()
            for i, result in zip(valid, results, strict=True):
                outcomes[i] = result
            return outcomes
        for i in valid:
            try:
                outcomes[i] = operation.run(outcomes[i], stage)
            except Cancelled:
                raise
            except Exception as error:  # the others of the list are still carried out
                outcomes[i] = error
        return outcomes

    def _stage(self, name: str, done: int, total: int) -> OnProgress:
        """Reports the run's progress: this step's finished items, with the operation's own steps as the message."""

        def report(step_done: int, step_total: int, message: str) -> None:
            self.on_progress(done, total, f"{name} {min(done + 1, total)}/{total}: {message} {step_done}/{step_total}")

        report(0, 1, "begins")
        return report


def _none_done(step: str, failed: Sequence[Mapping[str, Any]]) -> str:
    """Says why a step ends the run: none of its items succeeded. Equal reasons are given once, three at most."""
    errors = [item["error"] for item in failed if item["step"] == step]
    reasons = list(dict.fromkeys(errors))
    more = f" (and {len(reasons) - 3} other reasons)" if len(reasons) > 3 else ""
    return f"none of the {len(errors)} items of step '{step}' could be carried out: {' | '.join(reasons[:3])}{more}"


def _valid(operation: Operation[M], arguments: Mapping[str, Any]) -> M:
    try:
        return operation.form.model_validate(arguments)
    except ValidationError as error:
        raise WorkflowError(f"{explain_invalid(error)}.") from error
