"""Work on one training job: `python -m loras.worker FOLDER`. The process may be killed at any moment.

cache.safetensors   latents and embeddings, made once; the pictures are not read again
checkpoint.pt       the trainer's state, replaced every `save_every` steps
report.json         which files of the dataset were taken and refused; dataset.png shows them
samples/            step-000100.png, ...; loss.png; page.html shows all of them
log.jsonl           loss, rate and validation loss by step; tensorboard/ the same as event files
export/             the LoRA in diffusers' form; the kohya form is written where the spec says
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loras.files import read_json, sweep, write_json
from loras.jobs import JobSpec, this_process
from pipelines.errors import report
from pipelines.log import set_up_logging

if TYPE_CHECKING:
    from loras.cache import Cache
    from loras.log import RunLog
    from loras.trainer import Trainer
    from pipelines.sdxl.diffusion import DiffusersBackend

_SAY_EVERY = 0.4
"""Seconds between two writes of state.json."""
_DYING = 30
"""Seconds to wait for a killed worker's lock: its main thread is gone immediately, the lock with its last thread."""
_RESERVE = 64 << 10
"""Bytes that are set aside so that a full disk can still be reported."""


class _Stopped(BaseException):
    """The user cancelled, or the system asked the process to end."""

    def __init__(self, status: str, message: str) -> None:
        self.status, self.message = status, message


class _State:
    """state.json, and the two ways in which the worker is asked to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        state = read_json(folder / "state.json")
        self.values: dict[str, Any] = {
            k: state[k] for k in ("done", "total", "loss", "seconds", "cpu_seconds") if k in state
        }
        self.values["worker"] = this_process()
        self.said = 0.0
        self.terminated = False
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self.terminated = True

    def say(self, status: str, message: str, now: bool = True, **values: Any) -> None:
        """Writes what is the case; with `now` false only when the last time is a while ago."""
        self.values |= {"status": status, "message": message, "updated": time.time(), **values}
        if now or time.monotonic() - self.said >= _SAY_EVERY:
            self.said = time.monotonic()
            write_json(self.folder / "state.json", self.values)

    def check(self) -> None:
        """Ends the work where somebody asked for it."""
        if (self.folder / "cancel").exists():
            raise _Stopped("cancelled", "Cancelled. Resume continues from the last step.")
        if self.terminated:
            raise _Stopped("interrupted", "The system ended the worker. Resume continues from the last step.")


def work(folder: Path) -> str:
    """Runs or resumes the job and returns its status. Errors are written into the job's state."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "worker.lock", timeout=_DYING):
            state = _State(folder)
            reserve = folder / "reserve"
            try:
                sweep(folder)
                if not reserve.exists():
                    reserve.write_bytes(bytes(_RESERVE))
                _work(folder, state)
            except _Stopped as stopped:
                state.say(stopped.status, stopped.message)
            except Exception as error:
                reserve.unlink(missing_ok=True)
                state.say("failed", "It failed.", error=_message(error))
            return state.values["status"]
    except Timeout:
        print("another worker has this job")
        return "busy"


def _message(error: Exception) -> str:
    """Returns what the job's state says of an error; the log has the traceback."""
    import torch

    traceback.print_exception(error)
    if is_full_disk(error):
        filename = error.filename if isinstance(error, OSError) else None
        return (
            f"There is no room left to write {filename or 'the files of the job'}. The last checkpoint is whole: free "
            "some space and resume the job."
        )
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "The device has no room for training. Close what else uses it (or wait for it), or start again with a "
            "smaller batch or resolution. Resume continues from the last checkpoint."
        )
    return f"{report(error)} Resume continues from the last checkpoint; log.txt in the job's folder has the details."


def is_full_disk(error: BaseException) -> bool:
    """Returns whether an error, or one that it was raised from, says that the disk is full.

    torch and safetensors raise their own errors when a write fails and keep only the text of the system's.
    """
    while True:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if re.search(r"No space left on device|os error 28|File too large|database or disk is full", str(error)):
            return True
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause


def _work(folder: Path, state: _State) -> None:
    spec = JobSpec.read(folder / "spec.json")
    state.say("queued", "Waiting for the device.", total=spec.options.steps, error="")
    with _device(folder.parent / "device.lock", state):
        os.nice(10)  # drawings have priority
        _train(folder, spec, state)


@contextmanager
def _device(path: Path, state: _State) -> Iterator[None]:
    """Lets one job train at a time; the kernel gives the lock back when its holder is killed."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while True:
        state.check()
        try:
            lock.acquire(timeout=0.3)
            break
        except Timeout:
            state.say("queued", "Waiting: another job is training.", now=False)
    try:
        yield
    finally:
        lock.release()


def _train(folder: Path, spec: JobSpec, state: _State) -> None:
    state.say("preparing", "Loading the model.")
    import torch

    from loras.trainer import Trainer, load_state
    from pipelines.models.catalog import find_model
    from pipelines.sdxl.diffusion import DiffusersBackend

    backend = DiffusersBackend()
    model = find_model(spec.model)
    resident = backend.resident(model)
    # The style that comes with a model is a LoRA of its own: it is added when drawing, not learned on top of.
    resident.model = replace(resident.model, style=None)
    if resident.device.type == "cuda" and not model.draws_pixels:
        # bfloat16 has float32's range: no gradient is lost and no loss scaling is needed
        for module in resident.modules.values():
            module.to(torch.bfloat16)
        resident.dtype = torch.bfloat16
    cache = _prepare(folder, spec, state, resident)
    trainer = Trainer(resident, cache, spec.options)
    if (folder / "checkpoint.pt").exists():
        trainer.restore(load_state(folder / "checkpoint.pt"))
    check_room(folder, trainer)
    _loop(folder, spec, state, trainer, backend)
    state.say("exporting", "Writing the LoRA.", done=trainer.done)
    result = _export(folder, spec, trainer)
    learned = (
        f"Learned '{spec.name}' from {cache.count} pictures.{_by_hand(trainer)} Compare '+ {spec.name}@0.7' with "
        f"'+ {spec.name}': a lower weight keeps more of what is asked for."
    )
    state.say("done", learned, result=str(result), eta_seconds=0.0)


def _prepare(folder: Path, spec: JobSpec, state: _State, resident: Any) -> Cache:
    """Returns the cache, made from the dataset where it is not there yet."""
    from loras.cache import Cache, build_cache, said_to
    from loras.dataset import read_dataset
    from loras.files import synced
    from loras.preview import contact_sheet

    path = folder / "cache.safetensors"
    if path.exists():
        return Cache.load(path)
    state.say("preparing", "Reading the pictures.")
    dataset = read_dataset(Path(spec.dataset), spec.tile_size)

    def on_progress(done: int, total: int) -> None:
        state.check()
        state.say("preparing", f"Encoding pictures: {done} of {total}.", now=False)

    cache = build_cache(resident, dataset, spec.options, spec.trigger, on_progress)
    report = dataset.report()
    report["taken"], report["shapes"] = cache.count, cache.about["shapes"]
    report["refused"] += len(cache.about["refused"])
    report["refused_files"] = (cache.about["refused"] + report["refused_files"])[:50]
    if spec.trigger and not said_to(resident, spec.trigger, spec.options.resolution)[0]:
        report["notes"].append(f"The model cannot read the trigger word '{spec.trigger}': the style comes without it.")
    if unread := cache.about["unread"]:
        some = ", ".join(unread[:8]) + (" ..." if len(unread) > 8 else "")
        report["notes"].append(
            f"The model cannot read {len(unread)} words of the captions ({some}). Say in other words what those "
            "pictures show, and it learns which look belongs to which word."
        )
    write_json(folder / "report.json", report)
    with synced(folder / "dataset.png") as file:
        file.write(contact_sheet([(e.image, e.caption) for e in dataset.examples]))
    cache.save(path)
    return cache


def check_room(folder: Path, trainer: Trainer) -> None:
    """Says before the first step, not after an hour, that the disk is too full."""
    import shutil

    from loras.errors import TrainingError

    numbers = sum(p.numel() for p in trainer.weights.values())
    needed = numbers * (2 * 16 + 4) + (32 << 20)  # two checkpoints at a time, two exports, samples
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"Training needs about {needed >> 20} MB in {folder.parent}; {free >> 20} MB are free. Free some space and "
            "resume the job."
        )


def _loop(folder: Path, spec: JobSpec, state: _State, trainer: Trainer, backend: DiffusersBackend) -> None:
    from loras.log import RunLog
    from loras.trainer import save_state

    options = spec.options
    before = float(state.values.get("seconds", 0.0)) if trainer.done else 0.0
    cpu = float(state.values.get("cpu_seconds", 0.0)) if trainer.done else 0.0
    begun, first = time.monotonic(), trainer.done
    log = RunLog(folder, trainer.done)
    try:
        if not trainer.done:
            _validate(trainer, log)
            _show(folder, spec, state, trainer, backend)
        while trainer.done < options.steps:
            state.check()
            rate = options.rate_at(trainer.done)
            loss = trainer.step()
            log.write(trainer.done, loss=loss, rate=rate)
            last = trainer.done == options.steps
            shows = trainer.done % options.sample_every == 0 or last
            if shows:
                _validate(trainer, log)
            if trainer.done % options.save_every == 0 or last:
                log.flush()
                save_state(folder / "checkpoint.pt", trainer.state())
            if shows:
                _show(folder, spec, state, trainer, backend)
            seconds = time.monotonic() - begun
            pace = seconds / (trainer.done - first)
            state.say(
                "training",
                f"Step {trainer.done} of {options.steps}.{_by_hand(trainer)}",
                now=False,
                done=trainer.done,
                loss=loss,
                seconds=before + seconds,
                cpu_seconds=cpu + time.process_time(),
                steps_per_second=1 / pace,
                eta_seconds=(options.steps - trainer.done) * pace,
            )
    except _Stopped:
        log.flush()
        save_state(folder / "checkpoint.pt", trainer.state())
        state.values["done"] = trainer.done
        raise
    finally:
        with log:
            pass


def _validate(trainer: Trainer, log: RunLog) -> None:
    if (value := trainer.validate()) is not None:
        log.write(trainer.done, validation=value)


def _by_hand(trainer: Trainer) -> str:
    """Returns the message where a GPU learns slower than it could."""
    why = trainer.replayed.failed
    return f" No CUDA graph could be made, so steps take several times as long: {why.rstrip('.')}." if why else ""


def _show(folder: Path, spec: JobSpec, state: _State, trainer: Trainer, backend: DiffusersBackend) -> None:
    """Writes the sample pictures and the plot of the loss."""
    from loras.captions import with_trigger
    from loras.files import synced
    from loras.page import write_page
    from loras.preview import contact_sheet, loss_plot
    from loras.sampling import SAMPLES, sample
    from pipelines.models.presets import PRESETS

    said = spec.prompts or tuple(trainer.cache.about["captions"][:SAMPLES]) or (spec.trigger or spec.name,)
    prompts = [with_trigger(spec.trigger, prompt) for prompt in said[:SAMPLES]]
    plain = next((name for name in trainer.resident.model.presets if not PRESETS[name].lora), "")
    if trainer.text:  # what the encoders said before is not kept
        trainer.resident.prompts.state = ("learned until", trainer.done)
    with trainer.averaged():
        pictures = sample(backend, spec.model, prompts, spec.options.resolution, plain, lambda *_: state.check())
    (folder / "samples").mkdir(exist_ok=True)
    with synced(folder / "samples" / f"step-{trainer.done:06d}.png") as file:
        file.write(contact_sheet(list(zip(pictures, prompts, strict=True))))
    if trainer.losses:
        with synced(folder / "loss.png") as file:
            file.write(loss_plot(trainer.losses, validations=trainer.validations))
    write_page(folder, spec.name, f"Step {trainer.done} of {spec.options.steps}, {trainer.cache.count} pictures.")


def _export(folder: Path, spec: JobSpec, trainer: Trainer) -> Path:
    from loras.export import About, export

    resident, options = trainer.resident, spec.options
    about = About(
        name=spec.name,
        base=resident.model.id,
        base_hash=resident.revision,
        base_licence=resident.model.licence,
        rank=options.rank,
        targets=options.targets,
        trigger=spec.trigger,
        dataset=trainer.cache.about["dataset"],
        pictures=trainer.cache.count,
        steps=trainer.done,
        embedded=resident.model.draws_pixels,
    )
    result = Path(spec.output) / f"{spec.name}.safetensors"
    export(trainer.factors(), about, result, folder / "export")
    return result


def main() -> int:
    """Waits until the starter has written its state, then works."""
    set_up_logging()
    sys.stdin.read()
    return 0 if work(Path(sys.argv[1])) in ("done", "cancelled", "interrupted", "busy") else 1


if __name__ == "__main__":
    raise SystemExit(main())
