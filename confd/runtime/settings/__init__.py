"""The settings of each role: names, defaults and bounds."""

from confd.runtime.logs import LogSettings
from confd.runtime.settings.agent import AgentSettings
from confd.runtime.settings.controller import ControllerSettings
from confd.runtime.settings.shared import BROKERS, BrokerSettings
from confd.runtime.settings.worker import DevSettings, WorkerSettings

__all__ = [
    "BROKERS",
    "ROLES",
    "AgentSettings",
    "BrokerSettings",
    "ControllerSettings",
    "DevSettings",
    "LogSettings",
    "WorkerSettings",
]

#: Roles whose settings may share one environment.
ROLES = (ControllerSettings, AgentSettings, WorkerSettings, DevSettings)
