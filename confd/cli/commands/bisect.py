"""The command C{bisect}: find the version that broke an agent, by trying old versions on this agent alone."""

from __future__ import annotations

import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from attrs import define, field, frozen

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.completing import complete_agent, complete_version
from confd.cli.commands.rollout_progress import is_open
from confd.cli.commands.submissions import repeat
from confd.cli.errors import CommandError, Exit
from confd.cli.options import yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time, plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_VERSION = click.IntRange(min=1)

#: Default of C{--timeout}.
_TIMEOUT_SECONDS = 60
#: Pause between two questions to the controller.
_POLL_SECONDS = 0.25
#: Attempts for a request whose answer is lost, a second apart.
_MAX_ATTEMPTS = 5
#: The largest exit status of a probe that means a bad version, as in C{git bisect run}.
_MAX_BAD_STATUS = 124

_PATH = "/api/v1/rollouts"


@click.command(
    "bisect",
    cls=Command,
    short_help="Find the version that broke an agent.",
    examples=[
        ("confdctl bisect --from 120 --to 140 --agent canary-1", "find the first version that the worker refuses"),
        (
            "confdctl bisect --from 120 --agent canary-1 --probe 'curl -fs http://canary-1/health'",
            "find the first version, up to the current one, with which a command fails",
        ),
    ],
)
@click.option(
    "--from",
    "good",
    type=_VERSION,
    required=True,
    metavar="N",
    help="A version that works.",
    shell_complete=complete_version,
)
@click.option(
    "--to",
    "bad",
    type=_VERSION,
    metavar="N",
    help="A version that does not work.  [default: current one]",
    shell_complete=complete_version,
)
@click.option(
    "--agent",
    "agent_id",
    required=True,
    metavar="ID",
    help="The agent that tries the versions.",
    shell_complete=complete_agent,
)
@click.option(
    "--probe",
    metavar="COMMAND",
    help="Command of a shell that tests an applied version: 0 is good, 1 to 124 is bad, and others end the search.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=_TIMEOUT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for the agent to apply one version.",
)
@yes_option()
@common()
@pass_session
def bisect(
    session: Session, good: int, bad: int | None, agent_id: str, probe: str | None, timeout: float, yes: bool
) -> None:
    """
    Find the first bad version between a good version and a bad one, by halving: 20 versions take at most 5 trials.

    A rollout delivers the old versions to one agent only. A version is bad if the worker refuses it, or if the probe
    fails. At the end, also after an error, Ctrl-C or SIGTERM, the rollout is aborted, and the agent gets the current
    document again.
    """
    session.require_consent(yes)
    if bad is None:
        bad = int(session.controller.get("/api/v1/config", namespace=session.namespace)["version"])
    if good >= bad:
        raise CommandError(Exit.USAGE, f"--from {good} is not older than --to {bad}; name a good version before it.")
    most = trials(bad - good)
    session.confirm(f"Try at most {plural(most, 'version')} between {good} and {bad} on the agent {agent_id}?", yes)
    with_probe = (lambda: _run_probe(session, probe)) if probe else None
    tried = _Trials(session, agent_id, with_probe, timeout)
    with _interrupted_by_signals():
        try:
            first = first_bad(good, bad, tried.is_bad)
        finally:
            tried.abort()
    _show(session, first, tried.found)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let the signals that end a job interrupt the search as Ctrl-C does; ignored signals stay ignored."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ending = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    # Python allows handlers in the main thread only.
    there = threading.current_thread() is threading.main_thread()
    before = [(each, signal.signal(each, interrupt)) for each in ending if there]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


def trials(versions: int) -> int:
    """Return the trials that find the first bad one among some versions, the last of them bad, at most."""
    return (versions - 1).bit_length()


def first_bad(good: int, bad: int, is_bad: Callable[[int], bool]) -> int:
    """
    Return the first bad version, by halving.

    @param good: a version before it.
    @param bad: a version that is bad.
    """
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_bad(middle):
            bad = middle
        else:
            good = middle
    return bad


@frozen
class _Trial:
    """
    A version that was tried.

    @ivar why: the words of the worker or of the probe; empty for a good version.
    """

    version: int
    bad: bool
    why: str = ""


@define(eq=False)
class _Trials:
    """
    Tries versions on one agent, in one rollout.

    @ivar probe: tests the version that the agent has applied, and returns why it is bad.
    @ivar timeout: time limit for one version, in seconds.
    @ivar name: of the plan, by which the rollout is found if the answer to its start is lost.
    """

    _session: Session
    _agent_id: str
    _probe: Callable[[], str] | None
    _timeout: float
    found: list[_Trial] = field(factory=list)
    _name: str = field(factory=lambda: f"bisect-{uuid.uuid4().hex[:12]}")
    _number: int | None = None
    _began: bool = False

    def is_bad(self, version: int) -> bool:
        """
        Deliver the document of a version to the agent; return whether it is bad.

        @raise CommandError: the controller refuses it, or the agent does not answer.
        """
        candidate = self._deliver(version)
        member = self._judged(version, candidate)
        if member["outcome"] == "failed":
            trial = _Trial(version, True, printable(member["error"] or "the worker failed"))
        else:
            why = self._probe() if self._probe is not None else ""
            trial = _Trial(version, bool(why), why)
        self.found.append(trial)
        words = f"bad: {trial.why}" if trial.bad else "good"
        self._session.screen.say(f"Version {version} is {words}")
        return trial.bad

    def abort(self) -> None:
        """Abort the rollout, if it was started; the end of the command says if this fails."""
        session = self._session
        if not self._began:
            return
        note = "The rollout of this search may be open. To take it back, run: confdctl rollout abort"
        session.closing_notes.append(note)
        try:
            number = self._number if self._number is not None else self._find()
            if number is not None:
                self._reliably("POST", f"{_PATH}/{number}/abort", {"comment": "the search has ended"})
        except CommandError as failure:
            if failure.code != "rollout_over":
                session.screen.fail(failure)
                return
        session.closing_notes.remove(note)

    def _deliver(self, version: int) -> int:
        """Return the number of the version that delivers the document of C{version}."""
        wanted = {"rollback_of": version, "comment": f"bisect: try version {version} on {self._agent_id}"}
        if self._number is not None:
            return int(self._reliably("POST", f"{_PATH}/{self._number}/replace", wanted)["candidate"])
        wave = {"select": f"id={self._agent_id}", "count": 1, "hold": True}
        plan = {"name": self._name, "waves": [wave], "bake": 0, "max_failures": 1, "on_failure": "pause"}
        self._began = True
        try:
            started = self._reliably("POST", _PATH, wanted | {"plan": plan})
        except CommandError as failure:
            if failure.code != "no_eligible_agent":
                raise
            sentence = f"The agent {self._agent_id} of {self._session.namespace} is not live, or never reported."
            raise CommandError(failure.status, sentence, code=failure.code) from None
        self._number = int(started["rollout"]["id"])
        return int(started["version"])

    def _judged(self, version: int, candidate: int) -> JsonObject:
        """Wait until the agent has applied a version or failed; return it as a member of the rollout."""
        clock = self._session.clock
        deadline = clock.monotonic() + self._timeout
        while clock.monotonic() < deadline:
            rollout = self._reliably("GET", f"{_PATH}/{self._number}")
            if not is_open(rollout) or rollout["candidate"] != candidate:
                raise CommandError(Exit.CONFLICT, f"Rollout {self._number} was changed by someone else; start again.")
            members = self._reliably("GET", f"{_PATH}/{self._number}/agents")["items"]
            if members and members[0]["outcome"] in ("applied", "failed"):
                found: JsonObject = members[0]
                return found
            clock.sleep(_POLL_SECONDS)
        raise CommandError(
            Exit.NO_QUORUM,
            f"The agent {self._agent_id} did not apply version {version} in {self._timeout:g} s; check the agent, or"
            " raise --timeout.",
        )

    def _find(self) -> int | None:
        """Return the number of the rollout if it is open."""
        page = self._reliably("GET", _PATH, limit=1)
        for each in page["items"]:
            if is_open(each) and each["plan"]["name"] == self._name:
                return int(each["id"])
        return None

    def _reliably(self, method: str, path: str, body: JsonObject | None = None, **query: object) -> JsonObject:
        """Send a request; repeat it with the same idempotency key while its answer is lost."""
        session = self._session
        headers = {"Idempotency-Key": str(uuid.uuid4())} if body is not None else {}
        scope = {"namespace": session.namespace} if path == _PATH else {}
        answer = repeat(
            session, _MAX_ATTEMPTS, lambda: session.controller.call(method, path, body, headers, scope | query)
        )
        value: JsonObject = value_of(answer)
        return value


def _run_probe(session: Session, command: str) -> str:
    """
    Run the probe and print its output; return why the version is bad, or nothing.

    @raise CommandError: the exit status is no verdict.
    """
    done = subprocess.run(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        session.screen.say(f"  {printable(line)}")
    if not 0 <= done.returncode <= _MAX_BAD_STATUS:
        sentence = f"The probe ended with status {done.returncode}, which is no verdict; 0 is good, 1 to 124 is bad."
        raise CommandError(Exit.FAILED, sentence)
    return f"the probe ended with status {done.returncode}" if done.returncode else ""


def _show(session: Session, first: int, found: list[_Trial]) -> None:
    controller, scope = session.controller, {"namespace": session.namespace}
    revision = controller.get(f"/api/v1/config/versions/{first}", **scope)
    change = controller.get("/api/v1/config/diff", **scope, **{"from": first - 1, "to": first})
    value = {
        "first_bad": first,
        "last_good": first - 1,
        "trials": [{"version": each.version, "bad": each.bad, "why": each.why} for each in found],
        "patch": change["patch"],
    }

    def draw() -> None:
        session.screen.line(f"Version {first} is the first bad version, after {plural(len(found), 'trial')}.")
        published = f"{format_time(revision['updated_at'])} by {revision['author']}"
        session.screen.facts([("Published", published), ("Comment", revision["comment"] or None)])
        session.screen.diff(change["text"])

    session.screen.show(value, draw)
