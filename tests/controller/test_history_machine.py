"""A whole controller on a real file, to which anything happens in any order: it is what the model says, always."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from queue import SimpleQueue
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import convert
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import AuditEntry, verify
from confd.codec import strict_json
from confd.controller.agents.newcomers import EXPIRES_AFTER_SECONDS
from confd.controller.convergence.report_intake import GATHER_SECONDS
from confd.controller.store.sqlite.store import SqliteStore
from confd.model import DEFAULT_NAMESPACE, Tag
from tests.budgets import budget
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.controller.reference_model import (
    SLEEPS_TO_EXPIRE,
    STATES,
    LastReport,
    NamespaceModel,
    ReferenceModel,
    VersionModel,
)
from tests.controller.store.fixtures import FIRST
from tests.conversation import Reply

#: Longer than three of the longest poll intervals here; so many times that, and agents that were never heard expire.
LONG = EXPIRES_AFTER_SECONDS / SLEEPS_TO_EXPIRE + 1


class Threads(Clock):
    """The threads of a store; what they have done reaches the machine in L{wait}, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self._done: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callWhenRunning(self, work: Callable[..., object], *given: Any) -> None:
        work(*given)

    def callFromThread(self, work: Callable[..., object], *given: Any, **named: Any) -> None:
        self._done.put(lambda: work(*given, **named))

    def addSystemEventTrigger(self, *_: object) -> object:
        return object()

    def removeSystemEventTrigger(self, trigger: object) -> None: ...

    def wait(self, until: Callable[[], Any]) -> None:
        """
        Hear what was done until C{until} is true.

        @raise queue.Empty: if that never comes.
        """
        while not until():
            self._done.get(timeout=60)()


_NAMESPACES = st.sampled_from([DEFAULT_NAMESPACE, DEFAULT_NAMESPACE, "b", "b", "c"])
_AGENTS = st.sampled_from(["a1", "a2", "a3", "a4"])
_DOCUMENTS = st.integers(0, 3).map(lambda number: {"url": f"https://example.com/{number}"})
_CLUSTERS = ("9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "8a8a8a8a-5e6f-4a7b-8c9d-0e1f2a3b4c5d")

#: The current version, the one before it, one that does not exist yet ...
_BACK = st.integers(-1, 4) | st.sampled_from([17, 100])

#: Which tag a caller believes in: none, any, that of a version so far back.
_EXPECTED = st.sampled_from([None, None, "*", 0, 0, 1, 2])
_FORMS = st.sampled_from(["tag", "tag", "number", "other epoch", "foreign"])


class HistoryMachine(RuleBasedStateMachine):
    """
    A controller and its L{ReferenceModel}.

    @ivar named: the document that each tag ever named, whatever was lost since.
    @ivar highest: the highest epoch that there ever was.
    @ivar changed: whether the step that is under way may have changed anything.
    @ivar looks: after how many changes all was looked at; each time another version is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(dir=os.getcwd())
        self.path = os.path.join(self.folder, "controller.db")
        self.backup: tuple[dict[str, bytes], ReferenceModel] | None = None
        self.named: dict[tuple[str, str], str] = {}
        self.highest, self.looks = 1, 0
        self.bodies: Any = None
        self.changed = True
        self.start(0)
        cluster_id = self.harness.identity.cluster_id
        first = VersionModel(Tag(cluster_id[:8], 1, 1), strict_json.decode(FIRST.document.raw), 30)
        self.model = ReferenceModel(cluster_id, {DEFAULT_NAMESPACE: NamespaceModel([first], known=[1])})

    def start(self, keep: int) -> None:
        self.threads = Threads()
        self.store = SqliteStore(self.threads, self.path, FIRST, keep)
        self.store.startService()
        self.settle()
        self.harness = ControllerHarness(self.store)
        self.threads.wait(lambda: self.harness.loading.problem() is None)

    def stop(self) -> None:
        self.done(self.harness.stop())
        self.done(self.store.stopService())
        self.store.close()

    def teardown(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def done(self, work: Deferred[Any]) -> None:
        """Wait for it."""
        results: list[Any] = []
        work.addBoth(results.append)
        self.threads.wait(lambda: results)
        assert results == [None], results

    def settle(self) -> None:
        """Wait until all that was to be written is."""
        self.done(self.store.record([]))

    def ask(self, method: str, path: str, auth: tuple[str, str] = ADMIN, **carried: Any) -> Reply:
        replies: list[Reply] = []
        caller = self.harness.caller()
        caller.ask(method, path, auth=auth, **carried)
        self.harness.clock.advance(GATHER_SECONDS)

        def answered() -> bool:
            reply = caller.answer()
            if reply is not None:
                replies.append(reply)
            return reply is not None

        self.threads.wait(answered)
        caller.hang_up()
        return replies[0]

    def attempt(self, expected: object, action: str, target: str, path: str = "", **carried: Any) -> Any:
        """Ask for a change, which comes to what is expected: a refusal by its code, or anything else for success."""
        method, declared = action.split(" ")
        reply = self.ask(method, path or declared, **carried)
        refusal = expected if isinstance(expected, str) else None
        assert (reply.status // 100 == 2) == (refusal is None), (expected, reply)
        assert refusal is None or reply.code == refusal, (expected, reply)
        if not (reply.status == 200 and "dry_run" in reply.json):
            self.model.audit.append((action, target, refusal or "done"))
            self.changed = refusal is None
        return reply.json

    @initialize()
    def people(self) -> None:
        """Agents of two namespaces."""
        self.create("b", {"url": "https://example.com/1"})
        for agent_id, name in (("a1", DEFAULT_NAMESPACE), ("a2", DEFAULT_NAMESPACE), ("a3", "b")):
            self.register(agent_id, name)

    @rule(
        name=_NAMESPACES,
        document=_DOCUMENTS,
        poll_interval=st.sampled_from([None, None, 30, 60]),
        key=st.sampled_from([None, None, "k", "l"]),
        expected=_EXPECTED,
        dry_run=st.sampled_from([False, False, False, True]),
    )
    def publish(self, name: str, document: Any, poll_interval: Any, key: Any, expected: Any, dry_run: bool) -> None:
        seconds = "" if poll_interval is None else f"&poll_interval={poll_interval}"
        query = f"namespace={name}&comment=why{seconds}"
        ask = {"document": document, "poll_interval": poll_interval, "comment": "why"}
        self.change("POST /api/v1/config", name, query, document, ask, key, expected, dry_run)

    @rule(
        name=_NAMESPACES,
        back=_BACK,
        key=st.sampled_from([None, None, "k"]),
        expected=_EXPECTED,
        dry_run=st.sampled_from([False, False, False, True]),
    )
    def roll_back(self, name: str, back: int, key: Any, expected: Any, dry_run: bool) -> None:
        space = self.model.space(name)
        version = 1 if space is None else len(space.lines) - back
        past = "bad_field" if version < 1 else "unknown_namespace" if space is None else space.past(version)
        ask = past if isinstance(past, str) else {"document": past.document, "of": version}
        body = {"version": version}
        self.change("POST /api/v1/config/rollback", name, f"namespace={name}", body, ask, key, expected, dry_run)

    def change(
        self, action: str, name: str, query: str, body: Any, ask: Any, key: Any, expected: Any, dry_run: bool
    ) -> None:
        """Put something in the place of the current configuration; C{ask} is a refusal, or what to ask the model."""
        space = self.model.space(name)
        if isinstance(expected, int):
            there = [] if space is None else space.lines[::-1][expected : expected + 1]
            expected = str(there[0].tag) if there else "00000000.1.1"
        headers = {} if key is None else {"Idempotency-Key": key}
        if expected is not None:
            headers["If-Match"] = expected if expected == "*" else f'"{expected}"'
        made = ask
        if not isinstance(ask, str):
            made = self.model.publish(name, key=key, expected=expected, dry_run=dry_run, **ask)
        path = f"{action.split(' ')[1]}?{query}{'&dry_run=true' if dry_run else ''}"
        body = self.attempt(made, action, name, path, json=body, headers=headers)
        if isinstance(made, VersionModel):
            assert (body["version"], body["epoch"]) == (made.tag.version, made.tag.epoch), (body, made)

    @rule(name=_NAMESPACES, count=st.integers(1, 18))
    def publish_many(self, name: str, count: int) -> None:
        for number in range(count):
            self.publish(name, {"url": f"https://example.com/{number}"}, None, None, None, False)
        self.changed = True

    @rule(name=st.sampled_from(["b", "b", "c", DEFAULT_NAMESPACE]), document=_DOCUMENTS)
    def create(self, name: str, document: Any) -> None:
        made = self.model.create(name, document)
        self.attempt(made, "POST /api/v1/namespaces", name, json={"name": name, "config": document})

    @rule(name=_NAMESPACES)
    def retire(self, name: str) -> None:
        if name != DEFAULT_NAMESPACE:
            self.sleep()
        self.retire_now(name)
        self.changed = True

    @rule(name=_NAMESPACES)
    def retire_now(self, name: str) -> None:
        refusal = self.model.retire(name)
        self.attempt(refusal, "DELETE /api/v1/namespaces/<name>", name, f"/api/v1/namespaces/{name}")

    @rule(name=st.sampled_from(["b", "c"]), document=_DOCUMENTS)
    def begin_anew(self, name: str, document: Any) -> None:
        """A namespace that was retired and made again answers no retry of a request of before."""
        if self.model.space(name) is None:
            self.create(name, document)
        self.publish(name, document, None, "k", None, False)
        self.retire(name)
        self.create(name, document)
        self.publish(name, document, None, "k", None, False)
        self.changed = True

    @rule(agent_id=_AGENTS, name=_NAMESPACES)
    def register(self, agent_id: str, name: str) -> None:
        refusal = self.model.register(agent_id, name)
        reply = self.ask("POST", "/api/v1/register", AGENT, json={"agent_id": agent_id, "namespace": name})
        self.answered(reply, refusal)

    @precondition(lambda self: self.model.members)
    @rule(data=st.data(), state=st.sampled_from(["applying", "applied", "applied", "failed"]))
    def report_the_current_configuration(self, data: Any, state: str) -> None:
        self.report_state(data.draw(st.sampled_from(sorted(self.model.members))), state=state)

    @rule(agent_id=_AGENTS, final=st.sampled_from(["applied", "failed"]))
    def begin_what_is_done(self, agent_id: str, final: str) -> None:
        """A report that was delayed until the one after it had arrived."""
        if agent_id not in self.model.members:
            self.register(agent_id, DEFAULT_NAMESPACE)
        self.report_state(agent_id, state=final)
        self.changed = True
        self.as_the_ledger_says()
        self.report_state(agent_id, state="applying")

    @rule(agent_id=_AGENTS, name=_NAMESPACES, forgotten=st.booleans(), restarted=st.booleans())
    def come_back(self, agent_id: str, name: str, forgotten: bool, restarted: bool) -> None:
        """Of an agent that was forgotten, or was elsewhere meanwhile, nothing is known that it said before."""
        there = name if self.model.space(name) else DEFAULT_NAMESPACE
        self.register(agent_id, there)
        self.report_state(agent_id)
        if forgotten:
            self.forget(agent_id)
        else:
            elsewhere = "b" if there == DEFAULT_NAMESPACE else DEFAULT_NAMESPACE
            if self.model.space(elsewhere) is None:
                self.create(elsewhere, {"url": "https://example.com/1"})
            self.register(agent_id, elsewhere)
        self.register(agent_id, there)
        if restarted:
            self.restart(self.model.keep)
        self.changed = True

    @rule(agent_id=_AGENTS)
    def forget(self, agent_id: str) -> None:
        refusal = self.model.forget(agent_id)
        self.attempt(refusal, "DELETE /api/v1/agents/<agent_id>", agent_id, f"/api/v1/agents/{agent_id}")

    @precondition(lambda self: self.model.members)
    @rule(
        data=st.data(),
        back=_BACK,
        form=_FORMS,
        state=st.sampled_from(["applying", "applied", "applied", "failed"]),
        holds=st.none() | st.integers(1, 3),
        astray=st.sampled_from(["", "", "", "", "namespace", "sender", "agent"]),
    )
    def report(self, data: Any, back: int, form: str, state: str, holds: Any, astray: str) -> None:
        self.report_state(data.draw(st.sampled_from(sorted(self.model.members))), back, form, state, holds, astray)

    def report_state(
        self,
        agent_id: str,
        back: int = 0,
        form: str = "tag",
        state: str = "applied",
        holds: Any = None,
        astray: str = "",
    ) -> None:
        """An agent reports of the version that is C{back} before the current one."""
        name = self.model.members[agent_id].namespace
        sender, name = ("other" if astray == "sender" else agent_id), ("c" if astray == "namespace" else name)
        if astray == "agent":
            agent_id = sender = "nobody"
        space = self.model.spaces.get(name) or self.model.spaces[DEFAULT_NAMESPACE]
        version = self.version(space, back, form)
        held = None if holds is None or state == "applied" else str(space.lines[max(0, len(space.lines) - holds)].tag)
        said = LastReport(space.newest.tag, state, "no" if state == "failed" else "", held and Tag.parse(held))
        refusal = self.model.report(agent_id, sender, name, version, said)
        body = {"agent_id": agent_id, "namespace": name, "version": version, "state": state, "error": said.error}
        carried = body if held is None else body | {"holds": held}
        reply = self.ask("POST", "/api/v1/report", AGENT, json=carried, headers={"X-Agent-ID": sender})
        self.answered(reply, refusal)

    @staticmethod
    def version(space: NamespaceModel, back: int, form: str) -> str:
        """How an agent names a version that is C{back} before the current one."""
        number = max(1, len(space.lines) - back)
        there = space.lines[min(number, len(space.lines)) - 1].tag
        tags = {
            "tag": Tag(there.cluster, there.epoch, number),
            "number": Tag("", 0, number),
            "other epoch": Tag(there.cluster, there.epoch + 1, number),
            "foreign": Tag("ffffffff", 1, number),
        }
        return str(tags[form])

    @rule(agent_id=_AGENTS, name=_NAMESPACES)
    def poll(self, agent_id: str, name: str) -> None:
        member = self.model.members.get(agent_id)
        space = self.model.space(name)
        reply = self.ask("GET", f"/api/v1/config?namespace={name}", AGENT, headers={"X-Agent-ID": agent_id})
        self.answered(reply, "unknown_namespace" if space is None else None)
        if space is not None:
            assert reply.headers.get("x-agent-known") == ("false" if member is None else None)
            if member is not None:
                member.silent, member.polled = False, True

    def answered(self, reply: Reply, refusal: str | None) -> None:
        assert (reply.status == 200) == (refusal is None), (refusal, reply)
        assert refusal is None or reply.code == refusal, (refusal, reply)
        self.changed = refusal is None

    @rule()
    def sleep(self) -> None:
        """Long enough for every agent to fall silent, and in the end for those that were never heard to expire."""
        # A round of the registry that is under way would not see the time that passes.
        self.settle()
        self.harness.clock.advance(LONG)
        self.model.slept()
        self.threads.wait(lambda: {each.id for each in self.harness.registry.records()} == set(self.model.members))

    @rule(epoch=st.none() | st.integers(-1, 2), cluster_id=st.sampled_from([None, None, *_CLUSTERS]))
    def rename(self, epoch: int | None, cluster_id: str | None) -> None:
        meant = (cluster_id or self.model.cluster_id)[:8]
        held = [member.said.holds for member in self.model.members.values() if member.said and member.said.holds]
        known = [tag.epoch for tag in held if tag.cluster == meant == self.model.cluster_id[:8]]
        new = max([self.model.epoch, *known]) + 1 if epoch is None else max(1, self.model.epoch + epoch)
        self.renamed(new, cluster_id, epoch is not None)

    def renamed(self, epoch: int, cluster_id: str | None, say: bool = True) -> None:
        refusal = self.model.rename(epoch, cluster_id, "lost")
        body: dict[str, Any] = {"comment": "lost"} | ({"epoch": epoch} if say else {})
        if cluster_id is None:
            body = self.attempt(refusal, "POST /api/v1/epoch/raise", "", json=body)
        else:
            body["cluster_id"] = cluster_id
            body = self.attempt(refusal, "POST /api/v1/cluster/adopt", cluster_id, json=body)
        if refusal is None:
            assert body["epoch"] == epoch, (body, epoch)
            self.highest = max(self.highest, epoch)

    @rule(keep=st.sampled_from([0, 0, 0, 1, 3, 20]))
    def restart(self, keep: int) -> None:
        """A new process, which may be asked to keep more or less than the one before."""
        self.stop()
        self.start(keep)
        self.model.started(keep)

    @rule()
    def back_up(self) -> None:
        self.stop()
        files = {}
        for path in (self.path, f"{self.path}.id"):
            with open(path, "rb") as file:
                files[path] = file.read()
        self.backup = files, deepcopy(self.model)
        self.start(self.model.keep)
        self.model.started(self.model.keep)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        """All that came after the backup is lost, and the operator raises the epoch above all that there ever was."""
        assert self.backup is not None
        keep = self.model.keep
        self.stop()
        files, model = self.backup
        for path, content in files.items():
            with open(path, "wb") as file:
                file.write(content)
        self.model = deepcopy(model)
        self.start(keep)
        self.model.started(keep)
        self.renamed(self.highest + 1, None)

    @invariant()
    def as_the_ledger_says(self) -> None:
        self.settle()
        self.looks += self.changed
        bodies = [self.same_cluster(), *(self.same_namespace(*each) for each in self.model.in_use.items())]
        self.same_audit()
        if not self.changed:
            assert bodies == self.bodies
        self.bodies, self.changed = bodies, True

    def same_cluster(self) -> Any:
        body = self.ask("GET", "/api/v1/cluster").json
        assert (body["cluster_id"], body["epoch"]) == (self.model.cluster_id, self.model.epoch)
        found = [(each["name"], each["version"], each["agents"]) for each in self.ask("GET", "/api/v1/namespaces").json]
        in_use = self.model.in_use.items()
        assert found == [(name, len(space.lines), len(list(self.model.of(name)))) for name, space in in_use]
        return body

    def same_namespace(self, name: str, space: NamespaceModel) -> Any:
        current = self.ask("GET", f"/api/v1/config?namespace={name}", AGENT)
        assert current.headers["etag"] == f'"{space.newest.tag}"'
        assert current.json["data"] == space.newest.document
        assert (current.json["version"], current.json["epoch"]) == (space.newest.tag.version, space.newest.tag.epoch)
        agents = self.ask("GET", f"/api/v1/agents?namespace={name}&limit=500").json
        members = self.model.of(name)
        shown = [member.shown(agent_id) for agent_id, member in members]
        assert [{key: each[key] for key in like} for each, like in zip(agents, shown, strict=True)] == shown
        return agents, self.same_history(name, space), self.same_convergence(name, space)

    def same_history(self, name: str, space: NamespaceModel) -> Any:
        items = self.ask("GET", f"/api/v1/config/history?namespace={name}&limit=500").json["items"]
        kept = [line.shown for line in reversed(space.lines[space.pruned :])]
        found = [{key: value for key, value in each.items() if key not in ("author", "created_at")} for each in items]
        assert found == kept, (found, kept)
        for each in items:
            assert self.named.setdefault((name, each["tag"]), each["checksum"]) == each["checksum"], each
        version = 1 + self.looks % (len(space.lines) + 1)
        one = self.ask("GET", f"/api/v1/config/versions/{version}?namespace={name}")
        line = space.past(version)
        if isinstance(line, str):
            assert one.code == line, (line, one)
            return items
        assert one.json["data"] == line.document, (line, one)
        return items, one.json

    def same_convergence(self, name: str, space: NamespaceModel) -> Any:
        newest = len(space.lines)
        body = [
            self.converged(name, newest, f"/api/v1/config/convergence?namespace={name}"),
            *(
                self.converged(name, version, f"/api/v1/config/versions/{version}/convergence?namespace={name}")
                for version in {1 + self.looks % newest, max(1, newest - 1), max(1, newest - 16)}
            ),
        ]
        return body

    def converged(self, name: str, version: int, path: str) -> Any:
        reply, expected = self.ask("GET", path), self.model.convergence(name, version)
        if isinstance(expected, str):
            assert (reply.status, reply.code) == (410, expected), (version, reply)
            return None
        assert reply.status == 200, (version, expected, reply)
        body = {state: reply.json[state] for state in STATES}
        assert (body, reply.json["version"]) == (expected, version), (body, expected)
        assert reply.json["targeted"] == sum(body.values())
        return reply.json

    def same_audit(self) -> None:
        found: list[Any] = []
        path = "/api/v1/audit?limit=500"
        while path:
            page = self.ask("GET", path).json
            found += page["items"]
            path = f"/api/v1/audit?limit=500&before={page['next']}" if "next" in page else ""
        verified = verify(convert(each, AuditEntry) for each in found)
        assert (verified.count, verified.wrong) == (len(self.model.audit), None), verified
        body = [(each["action"], each["target"], each["outcome"]) for each in reversed(found)]
        assert body == self.model.audit, (body[-3:], self.model.audit[-3:])


class HistoryTests(SynchronousTestCase):
    """L{HistoryMachine}."""

    def test_answers_as_the_model_does(self) -> None:
        run_state_machine_as_test(
            HistoryMachine,
            settings=settings(
                max_examples=budget(6, 15), stateful_step_count=30, suppress_health_check=list(HealthCheck)
            ),
        )
