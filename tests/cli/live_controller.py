"""Commands of C{confdctl} against the API of a controller, in memory: real requests, and no port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from attrs import define, field

from confd.cli.transport import Reply, Unreached
from tests.controller.harness import ControllerHarness


@define(eq=False)
class LiveController:
    """
    A transport to a L{ControllerHarness}.

    @ivar before: called before each request, with the method and the path; may change the controller, or raise.
    @ivar asked: methods and paths of the requests.
    """

    harness: ControllerHarness = field(factory=ControllerHarness)
    before: Callable[[str, str], None] = lambda method, path: None
    asked: list[tuple[str, str]] = field(factory=list)

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        self.before(method, path)
        self.asked.append((method, path))
        caller = self.harness.caller()
        caller.ask(method, path, body=body, headers=headers)
        answer = caller.answer()
        caller.hang_up()
        if answer is None:
            raise Unreached("No answer.")
        return Reply(answer.status, answer.headers, answer.body)

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        raise Unreached("No stream.")

    def certificate_expiry(self, timeout: float) -> datetime | None:
        return None

    def document(self, namespace: str = "default") -> bytes:
        """Return the current document of a namespace."""
        return self.harness.snapshot.require(namespace).configuration.document.raw
