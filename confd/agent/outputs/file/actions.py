"""Actions of an operator: commands, signals, systemd units and loopback URLs, which succeed or say why not."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from confd.agent.outputs.file.commands import CommandResult, CommandRun, environment
from confd.agent.outputs.file.ownership import Untrusted, check_file, check_program
from confd.errors import Unprocessable
from confd.interfaces import Action
from confd.runtime.offload import RunInThread

#: Seconds between two runs of a probe.
PROBE_PAUSE_SECONDS = 0.5

#: The program that reloads units.
SYSTEMCTL = "/usr/bin/systemctl"


@define(eq=False)
class ActionRunner:
    """
    Runs the actions of one agent, one at a time for each output set.

    @ivar in_thread: runs a function off the reactor.
    @ivar environ: the agent's environment; commands get its C{PATH} and C{LANG}.
    @ivar count: how often each kind of action of each output ended with which result.
    """

    _clock: IReactorTime
    _in_thread: RunInThread
    _environ: Mapping[str, str]
    count: Counter[tuple[str, str, str]] = field(factory=Counter, init=False)

    def run(
        self,
        output: str,
        kind: str,
        action: Action,
        variables: Mapping[str, str],
        limit: float,
        words: bool = True,
    ) -> Deferred[None]:
        """
        Run an action once.

        @param output: name of the output, for the metrics.
        @param kind: C{check}, C{test}, C{reload}, C{probe} or C{health}.
        @param variables: those of confd for a command.
        @param limit: seconds.
        @param words: whether the sentence carries what a command prints.
        @raise Unprocessable: with code C{<kind>_failed} and one sentence. Cancelling kills the command.
        """
        return Deferred.fromCoroutine(self._run(output, kind, action, variables, limit, words))

    def probe(
        self, output: str, action: Action, variables: Mapping[str, str], limit: float, within: float, words: bool
    ) -> Deferred[None]:
        """
        Run an action until it succeeds.

        @param within: seconds.
        @raise Unprocessable: with code C{probe_failed} if it did not succeed in time.
        """
        return Deferred.fromCoroutine(self._probe(output, action, variables, limit, within, words))

    async def _run(
        self, output: str, kind: str, action: Action, variables: Mapping[str, str], limit: float, words: bool
    ) -> None:
        subject = f"The {'health check' if kind == 'health' else kind} {action.subject}"
        reason: str | None
        if action.kind == "http":
            reason = await self._in_thread(_request, "POST" if kind == "reload" else "GET", action.subject, limit)
            sentence = f"{subject} {reason}."
        elif action.kind == "signal":
            reason = await self._in_thread(_send_signal, *action.arguments)
            sentence = f"The signal {action.subject} was not sent: {reason}."
        else:
            reason = await self._command(subject, action, variables, limit, words)
            sentence = reason or ""
        self.count[output, kind, "ok" if reason is None else "failed"] += 1
        if reason is not None:
            raise Unprocessable(f"{kind}_failed", sentence)

    async def _command(
        self, subject: str, action: Action, variables: Mapping[str, str], limit: float, words: bool
    ) -> str | None:
        arguments = action.arguments
        if action.kind == "systemd":
            arguments = (SYSTEMCTL, "--no-ask-password", "reload-or-restart", action.subject)
        command = CommandRun(arguments, environment(self._environ, variables), limit)

        def checked() -> CommandResult | str:
            try:
                check_program(arguments[0])
            except (Untrusted, OSError) as error:
                return f"{subject} was not run: {error}"
            return command.run()

        ended: Deferred[CommandResult | str] = Deferred(lambda _: command.kill())

        def end(result: CommandResult | str | Failure) -> None:
            if not ended.called:
                ended.callback(result)

        self._in_thread(checked).addBoth(end)
        result = await ended
        if isinstance(result, str):
            return result
        return None if result.ok else result.sentence(subject, limit, words)

    async def _probe(
        self, output: str, action: Action, variables: Mapping[str, str], limit: float, within: float, words: bool
    ) -> None:
        deadline, reason = self._clock.seconds() + within, ""
        while True:
            began = self._clock.seconds()
            allowed = max(0.1, min(limit, deadline - began))
            try:
                await self._run(output, "probe", action, variables, allowed, words)
                return
            except Unprocessable as error:
                # An attempt that the deadline cuts short says less than the one before.
                if not reason or self._clock.seconds() - began < allowed:
                    reason = error.message
                if self._clock.seconds() + PROBE_PAUSE_SECONDS >= deadline:
                    detail = reason.removeprefix(f"The probe {action.subject}").strip(" .:")
                    sentence = f"The probe {action.subject} did not succeed within {within:g} s: {detail}."
                    raise Unprocessable("probe_failed", sentence) from None
            await deferLater(self._clock, PROBE_PAUSE_SECONDS)


def _request(method: str, url: str, limit: float) -> str | None:
    """Ask a loopback URL, follow no redirect, and return why that failed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=limit)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = time.monotonic() + limit
    try:
        connection.request(method, target, headers={"User-Agent": "confd-agent", "Connection": "close"})
        status = connection.getresponse().status
    except TimeoutError:
        return f"did not answer within {limit:g} s"
    except ConnectionRefusedError:
        return "refused the connection"
    except (OSError, http.client.HTTPException) as error:
        return f"failed: {getattr(error, 'strerror', None) or type(error).__name__}"
    finally:
        connection.close()
    if time.monotonic() > deadline:
        return f"did not answer within {limit:g} s"
    return None if 200 <= status < 300 else f"answered {status}"


def _send_signal(name: str, path: str) -> str | None:
    """Send a signal to the process whose id a file holds, and return why that failed."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            text = file.read(32).split()
        pid = int(text[0]) if text else 0
        if pid <= 1:
            return f"{path} holds no process id"
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.Signals[f"SIG{name}"])
        finally:
            os.close(descriptor)
    except Untrusted as error:
        return str(error).rstrip(".")
    except ValueError:
        return f"{path} holds no process id"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None
