"""Agents, workers and operators that are not as they should be: F-57 to F-65."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import threading
import time
from typing import ClassVar

from confd.codec import strict_json
from tests.faults.bad_answers import answers_changed
from tests.faults.harness import FaultHarness
from tests.faults.rows import row
from tests.faults.storage import until_ended
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, base_of, request
from tests.integration.recorded_fleet import BOUND
from tests.integration.recorder import QuietServer, WorkerHandler


@row(
    "F-57",
    "many agents come back at once",
    "12 agents, the controller down for 20 s",
    "all in 35 s; not in one wave",
    strategy="STREAM",
    agents=12,
    most=240,
)
def come_back(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.controller.stop(signal.SIGKILL)
    time.sleep(20)
    began = time.monotonic()
    fleet.start_controller()
    fleet.publish()
    fleet.converges(35)
    arrived = sorted(each.at - began for each in fleet.history.events if each.kind == "delivered" and each.at > began)
    fleet.claim(arrived[-1] - arrived[0] > 0.5, f"they come one by one: {[round(each, 1) for each in arrived]}")


@row(
    "F-58",
    "two agents with one id",
    "state folder copied",
    "said of them in the list of agents; no crash; nobody goes back to an older one",
    agents=2,
)
def one_id(fleet: FaultHarness) -> None:
    fleet.begin()
    first, second = fleet.agents
    fleet.agents[second].stop()
    for ending in ("", ".id", ".token"):
        if (kept := fleet.folder / f"{first}.cache{ending}").exists():
            shutil.copyfile(kept, fleet.folder / f"{second}.cache{ending}")
    fleet.restart_agent(second)
    for _ in range(5):
        fleet.publish()
        time.sleep(0.5)
    fleet.converges(BOUND)
    fleet.claim(all(each.up() for each in fleet.agents.values()), "both live")
    fleet.claim(any(each["duplicate"] for each in fleet.listed()), "that there are two is said")


@row(
    "F-59",
    "two agents on one worker",
    "one of them cut off from the controller for a while",
    "the worker never goes back to an older one",
    agents=0,
)
def one_worker(fleet: FaultHarness) -> None:
    fleet.start_controller()
    worker = fleet.daemons.worker()
    worker.start()
    slow = ["--controller-url", f"http://127.0.0.1:{fleet.proxies[0].port}", "--backoff-max", "2"]
    for agent in (
        fleet.daemons.agent(worker, "one", ops=True),
        fleet.daemons.agent(worker, "two", *slow, ops=True),
    ):
        agent.start()
    seen: list[int] = []
    for turn in range(12):
        if turn % 4 == 2:
            fleet.proxies[0].blackhole()
        if turn % 4 == 3:
            fleet.proxies[0].heal()
        version = fleet.daemons.publish(fleet.document()).json()["version"]
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            answer = request("GET", f"{base_of(worker)}/config")
            if answer.status == 200:
                seen.append(int(answer.json()["version"].rpartition(".")[2]))
    fleet.proxies[0].heal()
    fleet.claim(seen == sorted(seen), f"never back: {seen}")
    url = f"{base_of(worker)}/config"
    fleet.awaits(lambda: request("GET", url).json()["version"].endswith(f".{version}"), BOUND, "the newest")


class Fussy:
    """
    A worker with a mind of its own.

    @ivar refuses: whether it answers 422 to what it is given.
    @ivar lies: whether it answers 200, and keeps what it has.
    @ivar given: how often it was given something.
    """

    def __init__(self) -> None:
        self.refuses = self.lies = False
        self.given = 0
        fussy = self

        class Handler(WorkerHandler):
            held: ClassVar[dict[str, object]] = {}

            def do_POST(self) -> None:
                body = self.read()
                fussy.given += 1
                if fussy.refuses:
                    return self.answer(422, {"error": "That is not to my taste.", "code": "refused"})
                if not fussy.lies:
                    document = strict_json.decode(body)
                    self.hold(document, strict_json.checksum(document))
                return self.answer(200, {"message": "Configuration updated"})

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Fussy:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server.server_port}"


def _listed(fleet: FaultHarness, state: str, version: int) -> bool:
    """Whether the controller says that its only agent is in this state with this version."""
    url = f"{fleet.daemons.url}/api/v1/config/versions/{version}/convergence"
    answer = request("GET", url, auth=ADMIN)
    return answer.status == 200 and answer.json()[state] == 1


@row(
    "F-60",
    "worker refuses a version",
    "a worker that answers 422",
    "seen in 12.4 s; not hammered; the next one goes through",
    agents=0,
)
def refused(fleet: FaultHarness) -> None:
    with Fussy() as worker:
        fleet.start_controller()
        agent = fleet.daemons.agent(worker.url, "agent", ops=True)
        agent.start()
        fleet.until(lambda: _listed(fleet, "applied", 1), "applied", PATIENCE)
        worker.refuses, before = True, worker.given
        version = fleet.daemons.publish(fleet.document()).json()["version"]
        fleet.awaits(lambda: _listed(fleet, "failed", version), BOUND, "the refusal is seen")
        time.sleep(5)
        fleet.claim(worker.given - before <= 4, f"not hammered: given {worker.given - before} times")
        worker.refuses = False
        version = fleet.daemons.publish(fleet.document()).json()["version"]
        fleet.awaits(lambda: _listed(fleet, "applied", version), BOUND, "the next one is applied")
        fleet.claim(agent.up(), "the agent lives")
        fleet.daemons.close()


@row(
    "F-61",
    "worker says 200 and does nothing",
    "a worker that keeps what it has",
    "applied is not reported; seen in 15 s",
    agents=0,
)
def liar(fleet: FaultHarness) -> None:
    with Fussy() as worker:
        fleet.start_controller()
        agent = fleet.daemons.agent(worker.url, "agent", ops=True)
        agent.start()
        fleet.until(lambda: _listed(fleet, "applied", 1), "applied", PATIENCE)
        worker.lies = True
        version = fleet.daemons.publish(fleet.document()).json()["version"]
        fleet.awaits(
            lambda: fleet.ready(agent).status == 503 or _listed(fleet, "failed", version), 15, "the lie is seen"
        )
        fleet.claim(not _listed(fleet, "applied", version), "applied is not reported")
        worker.lies = False
        fleet.awaits(lambda: _listed(fleet, "applied", version), 35, "applied once it is true")
        fleet.daemons.close()


@row("F-63", "database of a newer release", "PRAGMA user_version raised", "refuses to start, and says why", agents=0)
def newer_release(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.controller.stop()
    database = fleet.folder / "controller.db"
    with sqlite3.connect(database) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    fleet.at_most(until_ended(fleet.controller), 4, "the refusal to start")
    fleet.claim("newer" in fleet.controller.log, "the reason is said")
    with sqlite3.connect(database) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    fleet.start_controller()
    fleet.read_database()


@row(
    "F-63 fields",
    "a controller of a later release",
    "answers with fields that nobody knows yet",
    "agents go on",
    agents=0,
)
def unknown_fields(fleet: FaultHarness) -> None:
    answers_changed(fleet, [lambda body: body | {"later": {"x": [1]}, "another": "field"}], applied=True)


@row(
    "F-65",
    "password changed",
    "the controller started again with another one, and back",
    "agents keep what they have, and converge",
)
def password_changed(fleet: FaultHarness) -> None:
    fleet.begin()
    held = fleet.history.newest()
    fleet.controller.stop()
    fleet.controller.environ["AGENT_PASSWORD"] = "correct-horse-battery"
    fleet.controller.start()
    agent = fleet.agents[fleet.only]
    # One that has a token of its own does not even notice.
    time.sleep(3 * fleet.pause)
    fleet.claim(fleet.history.current(fleet.only) == held, "what it has stays current")
    fleet.claim(agent.up(), "the agent lives")
    fleet.controller.stop()
    del fleet.controller.environ["AGENT_PASSWORD"]
    fleet.start_controller()
    fleet.publish()
    fleet.converges(BOUND + 4)


@row(
    "F-65 live",
    "password changed while all run",
    "the files that hold it are replaced, the controller's first",
    "the new one right and the old one wrong in 10 s; no token is needed to come back",
)
def password_replaced(fleet: FaultHarness) -> None:
    files = [fleet.folder / "controller.secret", fleet.folder / "agent.secret"]
    for path, process, name in (
        (files[0], fleet.controller, "AGENT_PASSWORD_FILE"),
        (files[1], fleet.agents[fleet.only], "CONTROLLER_PASSWORD_FILE"),
    ):
        path.write_text(AGENT[1])
        process.environ[name] = str(path)
    fleet.begin()
    url, changed = f"{fleet.daemons.url}/api/v1/config", (AGENT[0], "correct-horse-battery")
    fresh = fleet.folder / "fresh.secret"
    for path in files:
        fresh.write_text(changed[1])
        fresh.replace(path)
        with fleet.recovers(10, "the new password is right"):
            fleet.awaits(lambda: request("GET", url, auth=changed).status == 200, 10, "the new password is right")
    # Who asked for it too often gets no such answer any more.
    fleet.claim(request("GET", url, auth=AGENT).status in (401, 429), "the old one is wrong")
    # Forgotten, and so without a token, it joins with what is in its file.
    (agent,) = fleet.listed()
    request("DELETE", f"{fleet.daemons.url}/api/v1/agents/{agent['id']}", auth=ADMIN)
    fleet.publish()
    fleet.converges(BOUND + 4)
    fleet.awaits(lambda: [each["state"] for each in fleet.listed()] == ["applied"], BOUND, "it has joined")
