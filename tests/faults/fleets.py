"""Agents, workers and operators that are not as they should be: F-57 to F-65."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import threading
import time
from typing import ClassVar

from confd.codec import strict_json
from tests.faults.poison import poisoned
from tests.faults.rows import row
from tests.faults.scene import Scene
from tests.faults.storage import until_ended
from tests.integration.arena import BOUND
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, base_of, request
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
def come_back(scene: Scene) -> None:
    scene.begin()
    scene.controller.stop(signal.SIGKILL)
    time.sleep(20)
    began = time.monotonic()
    scene.start_controller()
    scene.publish()
    scene.converges(35)
    arrived = sorted(each.at - began for each in scene.history.events if each.kind == "delivered" and each.at > began)
    scene.claim(arrived[-1] - arrived[0] > 0.5, f"they come one by one: {[round(each, 1) for each in arrived]}")


@row(
    "F-58",
    "two agents with one id",
    "state folder copied",
    "said of them in the list of agents; no crash; nobody goes back to an older one",
    agents=2,
)
def one_id(scene: Scene) -> None:
    scene.begin()
    first, second = scene.agents
    scene.agents[second].stop()
    for ending in ("", ".id", ".token"):
        if (kept := scene.folder / f"{first}.cache{ending}").exists():
            shutil.copyfile(kept, scene.folder / f"{second}.cache{ending}")
    scene.restart_agent(second)
    for _ in range(5):
        scene.publish()
        time.sleep(0.5)
    scene.converges(BOUND)
    scene.claim(all(each.up() for each in scene.agents.values()), "both live")
    scene.claim(any(each["duplicate"] for each in scene.listed()), "that there are two is said")


@row(
    "F-59",
    "two agents on one worker",
    "one of them cut off from the controller for a while",
    "the worker never goes back to an older one",
    agents=0,
)
def one_worker(scene: Scene) -> None:
    scene.start_controller()
    worker = scene.fleet.worker()
    worker.start()
    slow = ["--controller-url", f"http://127.0.0.1:{scene.proxies[0].port}", "--backoff-max", "2"]
    for agent in (scene.fleet.agent(worker, "one", ops=True), scene.fleet.agent(worker, "two", *slow, ops=True)):
        agent.start()
    seen: list[int] = []
    for turn in range(12):
        if turn % 4 == 2:
            scene.proxies[0].blackhole()
        if turn % 4 == 3:
            scene.proxies[0].heal()
        version = scene.fleet.publish(scene.document()).json()["version"]
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            answer = request("GET", f"{base_of(worker)}/config")
            if answer.status == 200:
                seen.append(int(answer.json()["version"].rpartition(".")[2]))
    scene.proxies[0].heal()
    scene.claim(seen == sorted(seen), f"never back: {seen}")
    url = f"{base_of(worker)}/config"
    scene.awaits(lambda: request("GET", url).json()["version"].endswith(f".{version}"), BOUND, "the newest")


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


def _listed(scene: Scene, state: str, version: int) -> bool:
    """Whether the controller says that its only agent is in this state with this version."""
    url = f"{scene.fleet.url}/api/v1/config/versions/{version}/convergence"
    answer = request("GET", url, auth=ADMIN)
    return answer.status == 200 and answer.json()[state] == 1


@row(
    "F-60",
    "worker refuses a version",
    "a worker that answers 422",
    "seen in 12.4 s; not hammered; the next one goes through",
    agents=0,
)
def refused(scene: Scene) -> None:
    with Fussy() as worker:
        scene.start_controller()
        agent = scene.fleet.agent(worker.url, "agent", ops=True)
        agent.start()
        scene.until(lambda: _listed(scene, "applied", 1), "applied", PATIENCE)
        worker.refuses, before = True, worker.given
        version = scene.fleet.publish(scene.document()).json()["version"]
        scene.awaits(lambda: _listed(scene, "failed", version), BOUND, "the refusal is seen")
        time.sleep(5)
        scene.claim(worker.given - before <= 4, f"not hammered: given {worker.given - before} times")
        worker.refuses = False
        version = scene.fleet.publish(scene.document()).json()["version"]
        scene.awaits(lambda: _listed(scene, "applied", version), BOUND, "the next one is applied")
        scene.claim(agent.up(), "the agent lives")
        scene.fleet.close()


@row(
    "F-61",
    "worker says 200 and does nothing",
    "a worker that keeps what it has",
    "applied is not reported; seen in 15 s",
    agents=0,
)
def liar(scene: Scene) -> None:
    with Fussy() as worker:
        scene.start_controller()
        agent = scene.fleet.agent(worker.url, "agent", ops=True)
        agent.start()
        scene.until(lambda: _listed(scene, "applied", 1), "applied", PATIENCE)
        worker.lies = True
        version = scene.fleet.publish(scene.document()).json()["version"]
        scene.awaits(
            lambda: scene.ready(agent).status == 503 or _listed(scene, "failed", version), 15, "the lie is seen"
        )
        scene.claim(not _listed(scene, "applied", version), "applied is not reported")
        worker.lies = False
        scene.awaits(lambda: _listed(scene, "applied", version), 35, "applied once it is true")
        scene.fleet.close()


@row("F-63", "database of a newer release", "PRAGMA user_version raised", "refuses to start, and says why", agents=0)
def newer_release(scene: Scene) -> None:
    scene.begin()
    scene.controller.stop()
    database = scene.folder / "controller.db"
    with sqlite3.connect(database) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    scene.at_most(until_ended(scene.controller), 4, "the refusal to start")
    scene.claim("newer" in scene.controller.log, "the reason is said")
    with sqlite3.connect(database) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    scene.start_controller()
    scene.read_database()


@row(
    "F-63 fields",
    "a controller of a later release",
    "answers with fields that nobody knows yet",
    "agents go on",
    agents=0,
)
def unknown_fields(scene: Scene) -> None:
    poisoned(scene, [lambda body: body | {"later": {"x": [1]}, "another": "field"}], applied=True)


@row(
    "F-65",
    "password changed",
    "the controller started again with another one, and back",
    "agents keep what they have, and converge",
)
def password_changed(scene: Scene) -> None:
    scene.begin()
    held = scene.history.newest()
    scene.controller.stop()
    scene.controller.environ["AGENT_PASSWORD"] = "correct-horse-battery"
    scene.controller.start()
    agent = scene.agents[scene.only]
    # One that has a token of its own does not even notice.
    time.sleep(3 * scene.pause)
    scene.claim(scene.history.in_force(scene.only) == held, "what it has stays in force")
    scene.claim(agent.up(), "the agent lives")
    scene.controller.stop()
    del scene.controller.environ["AGENT_PASSWORD"]
    scene.start_controller()
    scene.publish()
    scene.converges(BOUND + 4)


@row(
    "F-65 live",
    "password changed while all run",
    "the files that hold it are replaced, the controller's first",
    "the new one right and the old one wrong in 10 s; no token is needed to come back",
)
def password_replaced(scene: Scene) -> None:
    files = [scene.folder / "controller.secret", scene.folder / "agent.secret"]
    for path, process, name in (
        (files[0], scene.controller, "AGENT_PASSWORD_FILE"),
        (files[1], scene.agents[scene.only], "CONTROLLER_PASSWORD_FILE"),
    ):
        path.write_text(AGENT[1])
        process.environ[name] = str(path)
    scene.begin()
    url, changed = f"{scene.fleet.url}/api/v1/config", (AGENT[0], "correct-horse-battery")
    fresh = scene.folder / "fresh.secret"
    for path in files:
        fresh.write_text(changed[1])
        fresh.replace(path)
        with scene.recovers(10, "the new password is right"):
            scene.awaits(lambda: request("GET", url, auth=changed).status == 200, 10, "the new password is right")
    # Who asked for it too often is not told any more that it is.
    scene.claim(request("GET", url, auth=AGENT).status in (401, 429), "the old one is wrong")
    # Forgotten, and so without a token, it joins with what is in its file.
    (agent,) = scene.listed()
    request("DELETE", f"{scene.fleet.url}/api/v1/agents/{agent['id']}", auth=ADMIN)
    scene.publish()
    scene.converges(BOUND + 4)
    scene.awaits(lambda: [each["state"] for each in scene.listed()] == ["applied"], BOUND, "it has joined")
