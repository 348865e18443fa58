"""Kinds of a seam by name: ``kind: lru`` finds the class that registered under ``lru``.

Classes register with a decorator; installed plug-ins register through the entry-point group ``moesim.<seam>``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from moesim.errors import Fault, InputError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps kind to class for one seam. A second class under the same name is an error, never a replacement."""

    def __init__(self, seam: str) -> None:
        self.seam = seam
        self._classes: dict[str, type[T]] = {}
        self._plugins: dict[str, str] = {}
        """Kind -> distribution that brought it."""
        self._plugins_read = False

    def register(self, kind: str) -> Callable[[type[T]], type[T]]:
        """Class decorator: file the class under `kind`. Raises ValueError naming both classes on a duplicate."""

        def add(cls: type[T]) -> type[T]:
            old = self._classes.setdefault(kind, cls)
            if old is not cls:
                raise ValueError(
                    f"{self.seam} {kind!r} is defined twice: {old.__module__}.{old.__qualname__} and "
                    f"{cls.__module__}.{cls.__qualname__}"
                )
            return cls

        return add

    def kinds(self) -> list[str]:
        """All known names, sorted."""
        self._read_plugins()
        return sorted(self._classes)

    def get(self, kind: str) -> type[T]:
        """The class of a kind. Raises InputError that lists the known names and the nearest."""
        if kind not in self._classes:
            self._read_plugins()
        if kind in self._classes:
            return self._classes[kind]
        known = self.kinds()
        raise InputError(Fault(field=self.seam, got=kind, allowed=" | ".join(known), nearest=nearest(kind, known)))

    def is_plugin(self, kind: str) -> bool:
        """Whether `kind` is known from an installed plug-in, and not built in."""
        if kind in self._classes and kind not in self._plugins:
            return False
        self._read_plugins()
        return kind in self._plugins

    def _read_plugins(self) -> None:
        """Load entry points once. A broken plug-in warns by name and is left out, so that the rest still works.

        Raises InputError if two distributions, or one and moesim itself, define the same name.
        """
        if self._plugins_read:
            return
        self._plugins_read = True
        for entry in entry_points(group=f"moesim.{self.seam}"):
            try:
                loaded = entry.load()
            except Exception as error:  # a stranger's module may fail in any way
                warnings.warn(f"plug-in {entry.name!r} of moesim.{self.seam} does not load: {error}", stacklevel=2)
                continue
            if entry.name in self._classes:
                here = f"{entry.dist.name if entry.dist else entry.value}"
                other = self._plugins.get(entry.name, "moesim")
                message = f"{self.seam} {entry.name!r} is defined by both {other} and {here}: uninstall one"
                raise InputError(Fault(field=self.seam, message=message))
            self.register(entry.name)(loaded)
            self._plugins[entry.name] = entry.dist.name if entry.dist else entry.value
