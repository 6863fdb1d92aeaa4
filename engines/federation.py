"""Which engine serves which role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from engines.declaration import Registration
from engines.registry import load_adapters
from pipeline.errors import ConfigurationError

DEFAULTS: Mapping[str, str] = MappingProxyType(
    {
        "safety_gate": "open_nsfw",
        "segmenter": "u2netp",
        "captioner": "template",
        "tagger": "imagenet_vocabulary",
    }
)


class Selection:
    """The engine of each role: the defaults with a deployment's choices on top, all checked at start.

    Raises ConfigurationError for a role or an engine that does not exist, or an engine of another capability.
    """

    def __init__(
        self, choices: Mapping[str, str] | None = None, registered: Mapping[str, Registration] | None = None
    ) -> None:
        known = load_adapters() if registered is None else registered
        for role, name in (choices or {}).items():
            if role not in DEFAULTS:
                raise ConfigurationError(f"there is no engine role {role!r}; known roles: {_names(DEFAULTS)}")
            fitting = [item.name for item in known.values() if _capability(role) in item.capabilities]
            if name not in fitting:
                raise ConfigurationError(
                    f"there is no engine {name!r} for {role}; known engines: {_names(fitting)}"
                )
        self._engines = {**DEFAULTS, **(choices or {})}

    def engine(self, role: str) -> str:
        """The name of the engine that serves a role."""
        try:
            return self._engines[role]
        except KeyError:
            raise ConfigurationError(
                f"there is no engine role {role!r}; known roles: {_names(DEFAULTS)}"
            ) from None

    def roles(self) -> Mapping[str, str]:
        """Every role with its engine."""
        return MappingProxyType(self._engines)


def _capability(role: str) -> str:
    """``safety_gate`` is the role of a ``SafetyGate``."""
    return "".join(word.capitalize() for word in role.split("_"))


def _names(items: Iterable[str]) -> str:
    return ", ".join(sorted(items))
