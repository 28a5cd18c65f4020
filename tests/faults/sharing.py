"""Two controllers that hear of the same agents at once: H-13, H-14."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from confd.codec.headers import basic_authorization
from tests.faults.controllers import another
from tests.faults.databases import Pair
from tests.faults.harness import FaultHarness
from tests.faults.rows import Row, Rows, row
from tests.integration.fleet import ADMIN, AGENT, base_of, eventually
from tests.integration.recorded_fleet import BOUND

#: Requests under way at once.
THREADS = 16

#: Agents of one step of H-13, and steps of one round.
BATCH, BATCHES = 100, 5

#: Agents of H-14, and reports of each.
AGENTS, REPORTS = 2000, 3

#: Seconds after which no controller may accept an old token, or know a forgotten agent.
FORGOTTEN_AFTER = 1.0

#: Seconds within which a controller has written and told the others the last polls of its agents, and read theirs.
PRESENCE_SECONDS = 3.0

#: All requests come from one address, and those with old tokens must not slow down the rest.
OPTIONS = ("--login-failures", "1000000")


@define(eq=False)
class Clients:
    """Connections that stay open, one of each thread to each controller."""

    urls: list[str]
    _local: threading.local = field(factory=threading.local)

    def ask(
        self, where: int, method: str, path: str, value: object = None, auth: tuple[str, str] = ADMIN
    ) -> tuple[int, Any]:
        """Ask a controller; return the status and the decoded body."""
        kept: dict[int, http.client.HTTPConnection] = self._local.__dict__.setdefault("kept", {})
        headers = {"Authorization": basic_authorization(*auth).decode(), "Content-Type": "application/json"}
        body = None if value is None else json.dumps(value)
        for _ in range(2):
            connection = kept.get(where)
            if connection is None:
                parts = urlsplit(self.urls[where])
                connection = kept[where] = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or b"null")
            except (OSError, http.client.HTTPException):
                # The controller ends idle connections, and connections of forgotten agents.
                kept.pop(where).close()
        raise AssertionError(f"{method} {path} of {self.urls[where]} got no answer twice")


def at_once(jobs: Iterable[Callable[[], object]]) -> None:
    """
    Run functions in threads.

    @raise Exception: that of the first function that fails.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(job) for job in jobs]:
            each.result()


@define(eq=False)
class Doomed:
    """
    An agent that is forgotten at the first controller while the second one hears of it.

    @ivar token: what it got first.
    @ivar again: what it got when it registered again; C{None} if it could not, or did not.
    """

    clients: Clients
    id: str
    tag: str
    token: str = ""
    again: str | None = None
    odd: list[str] = field(factory=list)

    def register(self) -> None:
        status, body = self._join()
        assert status == 200, body
        self.token = body["token"]

    def register_again(self) -> None:
        status, body = self._join()
        # 409: its token was used a moment ago, and the shared password replaces no such token.
        self._expects(status, 200, 403, 409)
        if status == 200:
            self.again = body["token"]

    def touch(self) -> None:
        status, _ = self.clients.ask(1, "GET", "/api/v1/config", auth=(self.id, self.token))
        self._expects(status, 200, 401, 403)

    def report(self) -> None:
        value = {"agent_id": self.id, "version": self.tag, "state": "applied"}
        status, _ = self.clients.ask(1, "POST", "/api/v1/report", value, (self.id, self.token))
        self._expects(status, 200, 401, 403, 404, 409)

    def forget(self, block: bool) -> None:
        status, _ = self.clients.ask(0, "DELETE", f"/api/v1/agents/{self.id}?block={str(block).lower()}")
        self._expects(status, 200)

    def tokens(self) -> list[list[int]]:
        """Return the status of a poll with each of its tokens, a list for each controller."""
        tokens = [self.token] if self.again is None else [self.token, self.again]
        return [
            [self.clients.ask(where, "GET", "/api/v1/config", auth=(self.id, each))[0] for each in tokens]
            for where in (0, 1)
        ]

    def known(self) -> list[bool]:
        """Return whether each controller knows it."""
        return [self.clients.ask(where, "GET", f"/api/v1/agents/{self.id}")[0] == 200 for where in (0, 1)]

    def _join(self) -> tuple[int, Any]:
        return self.clients.ask(1, "POST", "/api/v1/register", {"hostname": "h", "agent_id": self.id}, AGENT)

    def _expects(self, status: int, *expected: int) -> None:
        if status not in expected:
            self.odd.append(f"{self.id}: {status}, not {expected}")


def _doomed(fleet: FaultHarness, how: str) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        clients = Clients([fleet.daemons.url, base_of(another(fleet))])
        tag = fleet.history.newest()
        assert tag is not None
        checked: list[Doomed] = []
        for batch in range(BATCHES):
            agents = [Doomed(clients, f"{how}-{batch}-{number}", tag) for number in range(BATCH)]
            at_once(each.register for each in agents)
            jobs: list[Callable[[], object]] = []
            for each in agents:
                racers: list[Callable[[], object]] = [each.touch, each.report]
                if how != "forget":
                    racers.append(each.register_again)
                racers.append(lambda each=each: each.forget(how == "block"))
                fleet.random.shuffle(racers)
                jobs += racers
            at_once(jobs)
            time.sleep(FORGOTTEN_AFTER * fleet.slack)
            at_once(lambda each=each: _check_tokens(fleet, each, how) for each in agents)
            checked += agents
        time.sleep(PRESENCE_SECONDS * fleet.slack)
        for each in checked:
            fleet.claim(not each.odd, f"expected answers: {each.odd}")
        at_once(lambda each=each: _check_row(fleet, pair, each, how) for each in checked)
        pair.read()
        fleet.converges(BOUND)


def _check_tokens(fleet: FaultHarness, agent: Doomed, how: str) -> None:
    """Check the tokens of an agent once every controller must have heard that it is forgotten."""
    first, second = agent.tokens()
    fleet.claim(first == second, f"{agent.id}: both controllers judge its tokens alike: {first}, {second}")
    if agent.again is not None or how != "again":
        fleet.claim(first[0] in (401, 403), f"{agent.id}: its old token is refused: {first[0]}")
    if how == "block" and agent.again is not None:
        fleet.claim(first[1] in (401, 403), f"{agent.id}: the later token of a blocked agent is refused: {first[1]}")


def _check_row(fleet: FaultHarness, pair: Pair, agent: Doomed, how: str) -> None:
    known = agent.known()
    stored = pair.ask(f"SELECT count(*) FROM agents WHERE id = '{agent.id}'") == 1
    fleet.claim(known == [stored, stored], f"{agent.id}: controllers and database agree: {known}, {stored}")
    if how != "again":
        fleet.claim(not stored, f"{agent.id}: it stays forgotten")
    elif agent.again is not None:
        status = agent.tokens()[0][1]
        fleet.claim((status == 200) == stored, f"{agent.id}: its later token is as good as its row: {status}, {stored}")


FORGOTTEN = Rows(
    Row(
        f"H-13 {how}", f"{what} at one controller while the other one hears of it",
        f"{BATCHES * BATCH} agents a round: DELETE at A against poll, report{more} at B",
        "resurrected 0; old token accepted after 1 s: 0; controllers and database agree",
        lambda fleet, how=how: _doomed(fleet, how), needs=("postgres",), rounds=rounds, most=300, options=OPTIONS,
    )
    for how, what, more, rounds in (
        ("forget", "agent forgotten", "", 6),
        ("again", "agent forgotten and registered again", ", registration", 7),
        ("block", "agent blocked", ", registration", 7),
    )
)  # fmt: skip


def _sent(fleet: FaultHarness, agent: str, tag: str) -> tuple[list[dict[str, Any]], str]:
    """Return the reports of an agent in the order in which they are sent, and the state that must remain."""
    states = ["applying", *(fleet.random.choice(("applied", "failed", "applying")) for _ in range(REPORTS - 1))]
    reports = [
        {"agent_id": agent, "version": tag, "state": state, "session": "s", "sequence": number}
        for number, state in enumerate(states, 1)
    ]
    doubled = [each for each in reports for _ in range(fleet.random.choice((1, 1, 2)))]
    fleet.random.shuffle(doubled)
    return doubled, states[-1]


@row(
    "H-14",
    "reports doubled and reordered, at both controllers",
    f"{AGENTS} agents, {REPORTS} reports each, at random controllers",
    "totals equal the truth, to the agent, at both controllers and in the database",
    needs=("postgres",),
    rounds=5,
    most=300,
    agents=0,
    options=OPTIONS,
)
def reordered(fleet: FaultHarness) -> None:
    with Pair(fleet) as pair:
        fleet.begin()
        clients = Clients([fleet.daemons.url, base_of(another(fleet))])
        names = [f"agent-{number}" for number in range(AGENTS)]
        at_once(lambda name=name: _join(fleet, clients, name) for name in names)
        # Nobody polls, and nobody is to be silent.
        answer = fleet.post("poll_interval=600")
        version, tag = answer.json()["version"], answer.headers["etag"].strip('"')
        sent, truth = [], Counter[str]()
        for name in names:
            reports, last = _sent(fleet, name, tag)
            # The reports of one agent may overtake one another, so all are mixed.
            sent += reports
            truth[last] += 1
        fleet.random.shuffle(sent)
        answers: Counter[int] = Counter()
        at_once(lambda report=report: _report(fleet, clients, report, answers) for report in sent)
        fleet.claim(set(answers) <= {200, 409}, f"answers: {dict(answers)}")
        fleet.claim(answers[200] >= AGENTS, f"at least one report of each agent is taken: {dict(answers)}")
        expected = {"targeted": AGENTS, **{each: truth[each] for each in ("applied", "failed", "applying")}}
        for where in (0, 1):
            with suppress(AssertionError):
                eventually(lambda where=where: _totals(clients, where, version) == expected, fleet.slack)
            totals = _totals(clients, where, version)
            fleet.claim(totals == expected, f"the totals at controller {where}: {totals}, {expected}")
        with pair.primary.connect(pair.name) as connection:
            rows = connection.execute(
                "SELECT outcome::json->>'state', count(*) FROM outcomes WHERE version = %s GROUP BY 1", (version,)
            ).fetchall()
        fleet.claim(dict(rows) == dict(truth), f"the outcomes in the database: {dict(rows)}, {dict(truth)}")  # type: ignore[arg-type]
        pair.read()


def _join(fleet: FaultHarness, clients: Clients, name: str) -> None:
    status, _ = clients.ask(fleet.random.randrange(2), "POST", "/api/v1/register", {"agent_id": name}, AGENT)
    fleet.claim(status == 200, f"{name} registers: {status}")


def _report(fleet: FaultHarness, clients: Clients, report: dict[str, Any], answers: Counter[int]) -> None:
    status, _ = clients.ask(fleet.random.randrange(2), "POST", "/api/v1/report", report, AGENT)
    answers[status] += 1


def _totals(clients: Clients, where: int, version: int) -> dict[str, int]:
    _, body = clients.ask(where, "GET", f"/api/v1/config/versions/{version}/convergence")
    return {each: body[each] for each in ("targeted", "applied", "failed", "applying")}
