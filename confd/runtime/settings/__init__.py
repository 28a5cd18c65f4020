"""
The settings of each role: names, defaults and bounds.

A process imports the settings of its own role; those of the others only if its environment has a name that is unclear.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from confd.runtime.logs import LogSettings

if TYPE_CHECKING:
    from confd.runtime.settings.agent import AgentSettings
    from confd.runtime.settings.controller import ControllerSettings
    from confd.runtime.settings.shared import BROKERS, BrokerSettings
    from confd.runtime.settings.worker import DevSettings, WorkerSettings

__all__ = [
    "BROKERS",
    "AgentSettings",
    "BrokerSettings",
    "ControllerSettings",
    "DevSettings",
    "LogSettings",
    "WorkerSettings",
    "all_roles",
]

#: The modules of the names above.
_MODULES = {
    "AgentSettings": "agent",
    "BROKERS": "shared",
    "BrokerSettings": "shared",
    "ControllerSettings": "controller",
    "DevSettings": "worker",
    "WorkerSettings": "worker",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def all_roles() -> tuple[type, ...]:
    """Return the settings of the roles that may share one environment."""
    names = ("ControllerSettings", "AgentSettings", "WorkerSettings", "DevSettings")
    return tuple(cast(type, __getattr__(name)) for name in names)
