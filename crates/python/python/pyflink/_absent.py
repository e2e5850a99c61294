"""Placeholders for what PyFlink has and wiesel's stand-in does not.

Importing a placeholder and subclassing it is free, so a module with a whole job in it still gives its functions. Calling one, reading an
attribute of one or making an object of a subclass raises an error that names it.
"""

from __future__ import annotations

from typing import Any, NoReturn


class NotInWiesel(RuntimeError):
    """A part of PyFlink was used that is not there inside a worker."""

    # Shown as Python shows its own errors, without the module.
    __module__ = "builtins"


def _refuse(name: str) -> NoReturn:
    raise NotInWiesel(f"{name} is not part of wiesel: a worker has only what Python functions need of PyFlink")


class _AbsentType(type):
    """The type of placeholders: any use of the class itself is refused."""

    def __call__(cls, *_args: Any, **_kwargs: Any) -> NoReturn:
        _refuse(cls.__dict__.get("_absent_name") or f"{cls.__name__}, a subclass of something of pyflink,")

    def __getattr__(cls, name: str) -> Any:
        # Dunder names are asked for by Python itself: decorators, typing, pickling.
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(f"{cls.__dict__.get('_absent_name', cls.__name__)}.{name}")


def placeholder(name: str) -> type:
    """A class that stands for `name` and refuses to be used."""
    return _AbsentType(name.rsplit(".", 1)[-1], (), {"_absent_name": name, "__module__": name.rsplit(".", 1)[0]})
