"""The outputs of an agent as the composition root joins them, and their metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define

from confd.agent.outputs.health import HealthMonitor
from confd.agent.outputs.refusal import explain_refusal
from confd.errors import ConfdError
from confd.interfaces import IOutput, IWorkerClient
from confd.model import Tag

if TYPE_CHECKING:
    from confd.agent.outputs.base import OutputSet
    from confd.agent.outputs.file.actions import ActionRunner
    from confd.agent.outputs.file.marker import Marker
    from confd.agent.outputs.file.output import FileOutput
    from confd.runtime.metrics import Metrics


@define(eq=False)
class Outputs:
    """
    The outputs of an agent, built.

    @ivar worker: what the worker sync drives: the worker itself, or the set of outputs.
    @ivar set: C{None} if the worker is the only output.
    @ivar files: the file outputs.
    @ivar runner: runs every command; C{None} in an agent of a worker alone.
    @ivar marker: remembers facts about the outputs across restarts, with C{runner}.
    """

    worker: IWorkerClient
    set: OutputSet | None = None
    files: Sequence[FileOutput] = ()
    runner: ActionRunner | None = None
    marker: Marker | None = None

    @property
    def checked(self) -> Sequence[IOutput]:
        """The outputs that C{/ready} asks: all but the worker, which the worker sync watches."""
        return self.set.outputs if self.set is not None else ()

    @property
    def others(self) -> Sequence[IOutput]:
        """The outputs of other packages, which follow the files."""
        return self.checked[len(self.files) :]

    @property
    def subject(self) -> str:
        """What sentences call the outputs together."""
        return "The worker" if self.set is None else "An output"

    def explain(self, tag: Tag, error: ConfdError) -> str:
        """Return the sentence for a rejected configuration; a set of outputs names the output itself."""
        return explain_refusal(tag, error) if self.set is None else error.message

    def supersede(self) -> None:
        """End a splay: a newer configuration arrived, or the agent stops."""
        if self.set is not None:
            self.set.supersede()

    def stop(self) -> None:
        """Cancel the timers."""
        if self.set is not None:
            self.set.stop()
        for each in self.files:
            each.stop()


def output_metrics(metrics: Metrics, outputs: Outputs, health: HealthMonitor) -> None:
    """Add the metrics of the outputs; an agent with only a worker and no health check has none."""
    runner = outputs.runner
    if outputs.files and runner is not None:
        metrics.counter(
            "confd_output_commands",
            "Actions of the outputs by kind and result.",
            lambda: runner.count,
            "output",
            "kind",
            "result",
        )
        if outputs.set is not None:
            metrics.histogram(
                "confd_output_seconds",
                "Seconds from the start of an apply until the output was in use.",
                outputs.set.durations,
                "output",
            )
        metrics.gauge(
            "confd_output_reload_owed",
            "Whether no program is known to use the file as it is.",
            lambda: {each.name: float(each.reload_owed) for each in outputs.files},
            "output",
        )
    if health.outputs:
        metrics.gauge(
            "confd_output_healthy",
            "Whether the health check of the output passes.",
            lambda: {each.name: float(each.healthy) for each in health.outputs},
            "output",
        )
