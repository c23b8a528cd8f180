"""What both transformers refuse: configurations that their classes cannot stand for, and calls that lack an input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyanimate_core.errors import EasyAnimateError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_config(config: Any, allowed: Mapping[str, tuple[Any, ...]], *, network: str, versions: str) -> None:
    """Refuse a configuration with another value than those that are allowed.

    Args:
        config: Of the network, by field.
        allowed: Values by field; other fields may be anything.
        network: Name of the class.
        versions: Which releases have such a configuration, for the advice.

    Raises:
        EasyAnimateError: Naming the first field that does not fit.
    """
    for name, values in allowed.items():
        if config[name] not in values:
            raise EasyAnimateError(
                f"The configuration of {network} has an unsupported {name}.",
                received=config[name],
                expected=", ".join(map(str, values)),
                fix=f"check that config.json belongs to an EasyAnimate {versions} transformer",
            )


def missing(what: str, fix: str) -> EasyAnimateError:
    """The error for an input that a call lacks.

    Args:
        what: Name of the input, as it is accepted.
        fix: What to do.
    """
    return EasyAnimateError(f"The transformer needs {what}.", received="none", expected=what, fix=fix)
