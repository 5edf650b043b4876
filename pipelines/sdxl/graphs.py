"""Call a model through CUDA graphs: one graph for each shape of its inputs, over fixed buffers.

Eager SDXL waits for the CPU that launches its kernels; a graph is launched once. The weights are read where they lie,
so a LoRA stack that is merged in place keeps every graph valid. Compiled code exists only inside a graph: `warm`
switches it on, captures, and switches it off, so a call of a shape without a graph and a training run see the plain
module. On a CPU everything here is the plain call. A graph does not see what is changed in a module's code: a drawing
that wraps (`seamless.circular`) calls the module itself.

A probe compares compiled with plain output and decides whether compiled code is used. Where the rows can be halved, two
graphs are recorded, one of them with the halves side by side, and the faster is kept. All calls come from one thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.sdxl.halves import can_halve, in_halves
from pipelines.sdxl.inductor import tuned_code
from pipelines.sdxl.recording import record, run_aside

logger = logging.getLogger(__name__)

MOST_GRAPHS = 12
"""Graphs of one module; the least recently used is dropped first. They share one memory pool."""
LARGEST_ERROR = 0.05
"""Relative difference (norm) between compiled and plain output above which compiled code is not trusted: wrong code is
off by 1 or not finite, fp16 rounding by thousandths."""
AHEAD = 2
"""Calls that may be queued on the device: enough to keep it busy, few enough that progress and cancel are true."""

WORTH = 0.99
"""Share of the joint call's time below which a halved one is worth its memory."""

Region = tuple[nn.Module, str]
"""A module and the name of the method that is compiled."""
Kernels = Callable[[torch.device], AbstractContextManager[None]]
Shape = tuple[tuple[tuple[int, ...], torch.dtype], ...]
Output = Tensor | tuple[Tensor, ...]


class Interrupted(Exception):
    """A request interrupted the warm-up. What was compiled so far is kept."""


@dataclass(eq=False)
class _Graph:
    inputs: tuple[Tensor, ...]
    output: Output
    graph: Any
    compiled: bool
    halved: bool = False


class Captured:
    """`call(*tensors) -> tensor or tensors` of a module, faster once `warm` has run for the shape.

    A result is the caller's own. A graph is recorded over the values that the shape was first called with. A
    0-dimensional input may lie on the CPU (a scheduler's timestep); every other input is on the module's device. Calls
    happen in inference mode.
    """

    def __init__(
        self, call: Callable[..., Any], device: torch.device, regions: Sequence[Region] = (), halves: bool = False
    ) -> None:
        """`halves`: each row's result depends on that row alone, and compiled code may work on the halves apart."""
        self._call = call
        self._halved = in_halves(call, device) if halves else None
        self._device = device
        self._regions = tuple(regions)
        self._graphs: OrderedDict[Shape, _Graph] = OrderedDict()
        self._wanted: OrderedDict[Shape, tuple[Tensor, ...]] = OrderedDict()
        self._failed: dict[Shape, str] = {}
        self._pool: Any = None
        self._queued: deque[Any] = deque()
        self.compile_state = "not tried" if device.type == "cuda" and regions else "off"
        self.compile_error = 0.0

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> Any:
        if self._device.type != "cuda":
            return self._call(*inputs)
        while len(self._queued) >= AHEAD:
            self._queued.popleft().synchronize()
        shape = _shape(inputs)
        captured = self._graphs.get(shape)
        if captured is None:
            if shape not in self._failed and shape not in self._wanted:
                self._wanted[shape] = tuple(x.detach().to(self._device, copy=True) for x in inputs)
            output = self._call(*inputs)
        else:
            self._graphs.move_to_end(shape)
            _fill(captured.inputs, inputs)
            captured.graph.replay()
            output = _each(captured.output, torch.clone)
        done = torch.cuda.Event()
        done.record()
        self._queued.append(done)
        return output

    @property
    def waiting(self) -> int:
        """Shapes that were called and have no graph yet."""
        return len(self._wanted)

    @torch.inference_mode()
    def warm(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Captures one waiting shape. False when none waits, or `should_stop` interrupted it.

        Called between requests. It takes about a second, and up to a minute where blocks are compiled: `should_stop` is
        asked before each of them. Any failure falls back: compiled -> plain graph -> plain call, with the reason in
        `state`.
        """
        if not self._wanted or should_stop():
            return False
        shape, inputs = next(iter(self._wanted.items()))
        try:
            self._graphs[shape] = self._capture(inputs, should_stop)
        except Interrupted:
            return False
        except Exception as error:  # the plain call still draws
            logger.exception("Capturing a CUDA graph failed")
            self._failed[shape] = _reason(error)
            torch.cuda.empty_cache()
        self._wanted.pop(shape, None)
        while len(self._graphs) > MOST_GRAPHS:
            self._graphs.popitem(last=False)
        return True

    def add_regions(self, regions: Sequence[Region]) -> None:
        """Compiles these too in graphs that are captured from now on."""
        self._regions += tuple(regions)

    def reset(self) -> None:
        """Drops every graph, because the module's weights moved or changed their layout."""
        self._graphs.clear()
        self._wanted.clear()
        self._failed.clear()
        self._pool = None

    def state(self) -> dict[str, Any]:
        """Returns what `get_status` shows, as JSON values."""
        return {
            "graphs": len(self._graphs),
            "compiled_graphs": sum(g.compiled for g in list(self._graphs.values())),
            "halved_graphs": sum(g.halved for g in list(self._graphs.values())),
            "waiting": len(self._wanted),
            "compile": self.compile_state,
            "compile_error": round(self.compile_error, 5),
            "failed": sorted(set(self._failed.values())),
        }

    def _capture(self, inputs: tuple[Tensor, ...], should_stop: Callable[[], bool]) -> _Graph:
        """Captures with compiled blocks and chosen kernels, or with less where that fails."""
        if self._regions and not self.compile_state.startswith("failed"):
            failure = ""
            for kernels in (fastest_kernels, _usual_kernels):
                began = time.perf_counter()
                try:
                    with kernels(self._device):
                        graph = self._record_compiled(inputs, should_stop)
                    self.compile_state = f"on, {time.perf_counter() - began:.0f} s for the last shape"
                    return graph
                except (Interrupted, torch.OutOfMemoryError):
                    raise
                except Exception as error:  # a missing compiler, a kernel that does not fit, a wrong result
                    failure = failure or _reason(error)
            logger.warning("Compiled blocks are not used: %s", failure)
            self.compile_state = f"failed: {failure}"
        try:
            return self._record_plain(inputs, fastest_kernels)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # the chosen attention or convolution does not serve this shape
            return self._record_plain(inputs, _usual_kernels)

    def _record_compiled(self, inputs: tuple[Tensor, ...], should_stop: Callable[[], bool]) -> _Graph:
        keep_code()
        plain = _each(self._call(*inputs), torch.clone)
        with tuned_code(), compiled(self._regions, should_stop):
            self.compile_error = self._error(self._call, inputs, plain)
            graph = self._record(self._call, inputs, compiled=True)
            if self._halved is None or not can_halve(inputs):
                return graph
            try:
                self._error(self._halved, inputs, plain)
                other = self._record(self._halved, inputs, compiled=True)
            except (RuntimeError, ArithmeticError) as error:  # no room for both, or a wrong result
                logger.info("A step is not split: %s", _reason(error))
                return graph
        other.halved = True
        return other if _replay_seconds(other) < WORTH * _replay_seconds(graph) else graph

    def _error(self, call: Callable[..., Any], inputs: tuple[Tensor, ...], plain: Output) -> float:
        """Compiles and checks a call; returns its relative error.

        Raises:
            ArithmeticError: it is above LARGEST_ERROR.
        """
        # twice: the first call compiles, the second shows that it does not again
        error = max(_difference(self._run_aside(call, inputs), plain) for _ in range(2))
        if not error < LARGEST_ERROR:
            raise ArithmeticError(f"compiled output is {error:.3f} away from the plain one")
        return error

    def _record_plain(self, inputs: tuple[Tensor, ...], kernels: Kernels) -> _Graph:
        with kernels(self._device):
            self._run_aside(self._call, inputs)
            return self._record(self._call, inputs, compiled=False)

    def _run_aside(self, call: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Output:
        output = run_aside(lambda: call(*inputs), self._device)
        torch.cuda.synchronize(self._device)
        return output

    def _record(self, call: Callable[..., Any], inputs: tuple[Tensor, ...], compiled: bool) -> _Graph:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, output = record(lambda: call(*inputs), self._pool)
        return _Graph(inputs, output, graph, compiled)


def keep_code() -> None:
    """Keeps compiled code over restarts. torch's default place for it is a temporary folder."""
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        from platformdirs import user_cache_path

        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(user_cache_path("dgx-pixels") / "compiled")


@contextmanager
def compiled(
    regions: Sequence[Region],
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Iterator[None]:
    """Runs the regions as code of torch.compile within the context; afterwards they are plain again.

    Equal regions share one piece of code for each shape, which later contexts find again. `options`: torch.compile's.
    """
    import torch._dynamo

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        fast = torch.compile(function, fullgraph=True, dynamic=False, **options)

        def call(*args: Any, **kwargs: Any) -> Any:
            if should_stop():
                raise Interrupted
            return fast(*args, **kwargs)

        return call

    try:
        # Seventy blocks share one code object; each width, batch and size is one more version of it.
        with torch._dynamo.config.patch(recompile_limit=1024, accumulated_recompile_limit=4096):
            for module, method in regions:
                # the instance's own attribute shadows the class's method until it is deleted
                setattr(module, method, guarded(getattr(module, method)))
            yield
    finally:
        for module, method in regions:
            module.__dict__.pop(method, None)


def compiled_regions(model: nn.Module) -> list[Region]:
    """Lists what is worth compiling in an SDXL UNet or VAE: everything between convolutions and matrix products.

    In channels_last these regions also spare the copies from and to the convolutions' layout, which the plain group
    norm would make.
    """
    regions: list[Region] = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in ("ResnetBlock2D", "BasicTransformerBlock") or (kind == "Upsample2D" and name.startswith("decoder.")):
            regions.append((module, "forward"))
        elif kind == "Transformer2DModel":
            regions += [(module, "_operate_on_continuous_inputs"), (module, "_get_output_for_continuous_inputs")]
        elif kind in ("UNet2DConditionModel", "Decoder") and isinstance(module.conv_norm_out, nn.GroupNorm):
            regions.append((module.conv_norm_out, "forward"))
    return regions


@contextmanager
def fastest_kernels(device: torch.device) -> Iterator[None]:
    """Lets cuDNN benchmark convolutions within the context, and prefers cuDNN's attention on Hopper."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with _attention(device):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def _usual_kernels(device: torch.device) -> AbstractContextManager[None]:
    """Leaves the choice of kernels to torch."""
    return nullcontext()


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    if torch.cuda.get_device_capability(device) != (9, 0):
        return nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(order, set_priority=True)


def _shape(inputs: Sequence[Tensor]) -> Shape:
    return tuple((tuple(x.shape), x.dtype) for x in inputs)


def _fill(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        if value.device == buffer.device:
            buffer.copy_(value)
        else:  # a number on the CPU travels as a kernel's argument: no wait for the device
            buffer.fill_(value.item())


def _each(output: Output, do: Callable[[Tensor], Tensor]) -> Output:
    return do(output) if isinstance(output, Tensor) else tuple(map(do, output))


def _difference(ours: Output, plain: Output) -> float:
    if not isinstance(ours, Tensor):
        return max(_difference(o, p) for o, p in zip(ours, plain, strict=True))
    assert isinstance(plain, Tensor)
    plain = plain.float()
    return float((ours.float() - plain).norm() / plain.norm())


def _replay_seconds(graph: _Graph, times: int = 8) -> float:
    """Measures one replay, among some in a row."""
    graph.graph.replay()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        graph.graph.replay()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
