"""Import diffusers' UNet without the packages that drawing never calls.

diffusers 0.42 imports transformers, peft, accelerate, scipy.stats, torch._dynamo and all model classes to define one
UNet: 6 of the 9 processor seconds that the first sprite took. It uses them only inside functions that this package does
not call. While the block runs, an import of them inside diffusers gives a placeholder whose names are looked up in the
real package when they are first used; afterwards the placeholders are gone and every import is the real one.

docs/decisions/0110-light-imports.md has the measurements.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_DEFERRED = (
    "transformers",
    "peft",
    "accelerate",
    "requests",
    "huggingface_hub.hf_api",
    "huggingface_hub.file_download",
    "scipy.stats",
    "scipy.integrate",
    "diffusers.loaders.single_file_utils",
    "diffusers.utils.dynamic_modules_utils",
)
_UNREAD_PACKAGES = (
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "diffusers.models.autoencoders",
    "diffusers.hooks",
)
"""Packages whose `__init__` imports every class in them, where one submodule is wanted."""

_lock = threading.Lock()


@contextmanager
def light_imports() -> Iterator[None]:
    """Lets diffusers import only what the UNet and the schedulers need, within the block.

    Does nothing where diffusers was imported before, or on a CUDA machine (its compiled code needs torch._dynamo's
    marks on diffusers' classes).
    """
    import torch

    with _lock:
        if "diffusers" in sys.modules or torch.cuda.is_available():
            yield
            return
        finder = _Placeholders([name for name in _DEFERRED if name not in sys.modules])
        sys.meta_path.insert(0, finder)
        dynamo = _hide_dynamo(torch)
        distributions = importlib.metadata.packages_distributions
        importlib.metadata.packages_distributions = lambda: _Distributions(distributions)
        try:
            import diffusers.models  # noqa: F401 (the package whose subpackages are skipped below)

            skipped = [_skip_init(name) for name in _UNREAD_PACKAGES]
            try:
                yield
            finally:
                for module in skipped:
                    _forget(module)
        finally:
            sys.meta_path.remove(finder)
            importlib.metadata.packages_distributions = distributions
            for module in (*finder.made, *dynamo):
                _forget(module)


@contextmanager
def without_collections() -> Iterator[None]:
    """Switches the garbage collector off within the block; afterwards what exists is left out of its passes.

    A thousand modules that load make no garbage, and the collector walks over all of them again and again: half a
    processor second of the first sprite.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Later:
    """A name of a module that was not imported. Usable as `isinstance`'s second argument, called, read, subclassed."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._real(),)


class _Placeholder(ModuleType):
    """Stands for a module that is not imported yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, name)


class _Placeholders(MetaPathFinder, Loader):
    """Finds placeholders for the named packages, for the thread that made it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._thread = threading.get_ident()
        self.made: list[ModuleType] = []

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        wanted = any(fullname == name or fullname.startswith(f"{name}.") for name in self._names)
        if not wanted or threading.get_ident() != self._thread:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See `importlib.abc.Loader`."""
        module = _Placeholder(spec.name)
        self.made.append(module)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`: nothing is executed."""


class _Distributions(Mapping[str, list[str]]):
    """What `importlib.metadata.packages_distributions` returns, read when it is first asked for.

    It opens the file list of every installed package. diffusers asks it about three packages, where they are installed.
    """

    def __init__(self, read: Callable[[], Mapping[str, list[str]]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Mapping[str, list[str]]:
        return self._read()

    def __getitem__(self, name: str) -> list[str]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _hide_dynamo(torch: ModuleType) -> list[ModuleType]:
    """Puts a module in torch._dynamo's place whose decorators return the function as it is."""
    if "torch._dynamo" in sys.modules:
        return []
    module = ModuleType("torch._dynamo")
    vars(module).update(allow_in_graph=_unchanged, disable=_unchanged)
    sys.modules["torch._dynamo"] = module
    vars(torch)["_dynamo"] = module
    return [module]


def _unchanged(function: Any = None, *_: Any, **__: Any) -> Any:
    return (lambda decorated: decorated) if function is None else function


def _skip_init(name: str) -> ModuleType:
    """Makes a package without its `__init__`: submodules are found in it, nothing else is in it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = ModuleType(name)
    module.__spec__, module.__package__, module.__file__ = spec, name, spec.origin
    module.__path__ = list(spec.submodule_search_locations or ())
    sys.modules[name] = module
    return module


def _forget(module: ModuleType) -> None:
    """Takes a placeholder out of the table of modules and of its parent package."""
    name = module.__name__
    if sys.modules.get(name) is module:
        del sys.modules[name]
    parent, _, child = name.rpartition(".")
    holder = vars(sys.modules[parent]) if parent in sys.modules else {}
    if holder.get(child) is module:
        del holder[child]
