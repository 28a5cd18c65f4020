"""The context of the outputs that belong to confd itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from confd.interfaces import HealthCheck, IWorkerClient, OutputContext

if TYPE_CHECKING:
    from confd.agent.outputs.file.actions import ActionRunner
    from confd.agent.outputs.file.marker import Marker
    from confd.agent.outputs.file.spec import FileSpec


@frozen
class BuiltInContext(OutputContext):
    """
    What the outputs HTTP and FILE use besides.

    @ivar worker: reaches the worker.
    @ivar worker_health: the health check of the worker.
    @ivar marker: the durable knowledge of the outputs.
    @ivar runner: runs every command.
    @ivar spec: the file of a FILE output.
    """

    worker: IWorkerClient = field(kw_only=True)
    worker_health: HealthCheck | None = field(kw_only=True)
    marker: Marker = field(kw_only=True)
    runner: ActionRunner = field(kw_only=True)
    spec: FileSpec | None = field(default=None, kw_only=True)
