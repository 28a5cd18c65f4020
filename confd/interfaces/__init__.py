"""
Every contract between the parts of confd, by subject.

Methods that return a L{Deferred} fail with a L{confd.errors.ConfdError} for what a caller can understand, and with
anything else only for a defect. All are called on the reactor thread.
"""

from confd.interfaces.brokers import IBroker
from confd.interfaces.clients import IControllerClient, IWorkerClient
from confd.interfaces.health import IHealth
from confd.interfaces.outputs import (
    Action,
    HealthCheck,
    IConfirmedChange,
    IOutput,
    IOutputMaker,
    IStagedChange,
    OutputContext,
    OutputState,
    Step,
)
from confd.interfaces.stores import IAuditStore, IChangeListener, IChangeRequestStore, IChangeStore, IConfigStore
from confd.interfaces.strategies import POLL, ISink, IStrategy, IStrategyMaker, StrategyContext

__all__ = [
    "POLL",
    "Action",
    "HealthCheck",
    "IAuditStore",
    "IBroker",
    "IChangeListener",
    "IChangeRequestStore",
    "IChangeStore",
    "IConfigStore",
    "IConfirmedChange",
    "IControllerClient",
    "IHealth",
    "IOutput",
    "IOutputMaker",
    "ISink",
    "IStagedChange",
    "IStrategy",
    "IStrategyMaker",
    "IWorkerClient",
    "OutputContext",
    "OutputState",
    "Step",
    "StrategyContext",
]
