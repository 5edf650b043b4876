"""Record OpenTelemetry spans of what is drawn, finished, deployed and proved.

`server.tracing` starts it where the environment asks for it. Until then every function here is a test of one variable,
and nothing of OpenTelemetry is imported. API: OpenTelemetry for Python 1.45; W3C Trace Context.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
R = TypeVar("R")
Value = str | int | float | bool

_tracer: Tracer | None = None


class Marks:
    """What is told of a span while it is open. Without tracing nothing is kept."""

    __slots__ = ("_span",)

    def __init__(self, span: Span | None = None) -> None:
        self._span = span

    def event(self, name: str, **values: Value) -> None:
        """Notes that something happened now, such as a denoise step."""
        if self._span is not None:
            self._span.add_event(name, values)

    def note(self, **values: Value) -> None:
        """Adds attributes."""
        if self._span is not None:
            self._span.set_attributes(values)


_NOTHING = nullcontext(Marks())


def start(tracer: Tracer | None) -> None:
    """Records spans with `tracer` from now on; None ends that."""
    global _tracer
    _tracer = tracer


def span(name: str, **values: Value) -> AbstractContextManager[Marks]:
    """Returns a span around a `with` block, below the span that is open in this thread or task."""
    return _NOTHING if _tracer is None else _open(_tracer, name, values)


@contextmanager
def _open(tracer: Tracer, name: str, values: dict[str, Value]) -> Iterator[Marks]:
    with tracer.start_as_current_span(name, attributes=values) as opened:
        yield Marks(opened)


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function whose calls are spans."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _tracer is None:
                return function(*args, **kwargs)
            with _tracer.start_as_current_span(name):
                return function(*args, **kwargs)

        return call

    return decorate


def here() -> Context | None:
    """Returns where spans would go now, for work that another thread does."""
    if _tracer is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


def within(context: Context | None) -> AbstractContextManager[object]:
    """Lets the spans of a `with` block go where `here` or `received` said."""
    return _NOTHING if context is None or _tracer is None else _attach(context)


@contextmanager
def _attach(context: Context) -> Iterator[None]:
    from opentelemetry.context import attach, detach

    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def waited(name: str, since: int, context: Context | None) -> None:
    """Records a span that began at `since` (`time.time_ns`) and ends now."""
    if _tracer is not None and context is not None:
        _tracer.start_span(name, context, start_time=since).end(time.time_ns())


def to_send() -> str:
    """Returns a `traceparent` for work in another process; "" without tracing."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def received(traceparent: str) -> Context | None:
    """Returns where the spans of work go that another process sent; None without tracing."""
    if _tracer is None or not traceparent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})
