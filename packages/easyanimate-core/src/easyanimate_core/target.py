"""Names of functions that are imported when they are first called: "my_package.build:load"."""

from __future__ import annotations

import importlib
import inspect
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from easyanimate_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function")


class Target:
    """A function by its import path; calling it imports its module, so that naming it costs nothing.

    Args:
        path: "module:name", or "module:Class.method".

    Raises:
        PluginError: The path has another form.
    """

    def __init__(self, path: str) -> None:
        module, colon, name = path.partition(":")
        if not (colon and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))):
            raise PluginError("This names no function.", received=repr(path), expected="such as my_package.build:load")
        self._module, self._name = module, name

    def resolve(self) -> Any:
        """The function.

        Raises:
            PluginError: There is no such module, or it has no such name.
        """
        try:
            module = importlib.import_module(self._module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self._module}.".startswith(f"{error.name}."):
                raise  # the module is there, and lacks a library
            raise PluginError(f"There is no module {error.name}.", received=self._module) from error
        try:
            return attrgetter(self._name)(module)
        except AttributeError as error:
            raise PluginError(
                f"The module {self._module} has no {self._name}.", expected="the name of a function in it"
            ) from error

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the function."""
        return inspect.signature(self.resolve())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.resolve()(*args, **kwargs)

    def __repr__(self) -> str:
        """As it was written."""
        return f"Target({self._module}:{self._name})"


class Later(Generic[Function]):
    """A field of a spec that takes a function or its import path, and gives a function either way.

    Args:
        read: Makes the function of its import path.
        default: What the field is when nobody gives it; without one it has to be given.
    """

    def __init__(self, read: Callable[[str], Any] = Target, *, default: Any = ...) -> None:
        self._read, self._default = read, default

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep the value beside the field."""
        self._key = f"_{name}"

    def __get__(self, instance: object | None, owner: type) -> Function:
        """The function."""
        if instance is not None:
            return instance.__dict__[self._key]
        # A dataclass asks its class for the default of a field.
        if self._default is ...:
            raise AttributeError(self._key)
        return self._default

    def __set__(self, instance: object, value: Function | str) -> None:
        """Take a function or a text."""
        instance.__dict__[self._key] = self._read(value) if isinstance(value, str) else value
