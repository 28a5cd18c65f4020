"""Two releases on one database: H-12."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
import uuid
from pathlib import Path

from attrs import define, field

from confd.codec import strict_json
from tests.faults.controllers import another
from tests.faults.databases import Pair
from tests.faults.harness import FaultHarness
from tests.faults.rows import row
from tests.integration.fleet import ADMIN, AGENT, Process, Response, base_of, request
from tests.integration.recorded_fleet import BOUND

ROOT = Path(__file__).resolve().parents[2]

#: The steps that a later release adds: each lets the release before run on.
_LATER = """
ALTER TABLE revisions ADD COLUMN later text NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN later text;
CREATE TABLE later (id bigint PRIMARY KEY, body text NOT NULL);
"""

_VERSION = "99.0.0"


def later_release(folder: Path) -> Path:
    """Copy the project as a release with one more migration; return the folder of the copy."""
    place = folder / "later"
    for each in ("confd", "twisted"):
        shutil.copytree(ROOT / each, place / each, ignore=shutil.ignore_patterns("__pycache__"))
    schema = place / "confd/controller/store/postgres/schema"
    number = len(list(schema.glob("*.sql"))) + 1
    (schema / f"{number:04}.sql").write_text(_LATER)
    package = place / "confd/__init__.py"
    lines = package.read_text().splitlines()
    package.write_text("\n".join(f'__version__ = "{_VERSION}"' if "__version__ =" in each else each for each in lines))
    return place


@define(eq=False)
class Balanced:
    """
    Clients that ask the controllers in turn, and once more another controller than the one that failed.

    @ivar failed: what became of requests that failed twice.
    @ivar count: requests.
    """

    fleet: FaultHarness
    urls: list[str]
    failed: list[str] = field(factory=list)
    count: int = 0
    _threads: list[threading.Thread] = field(factory=list)
    _end: threading.Event = field(factory=threading.Event)

    def __enter__(self) -> Balanced:
        for each in (self._publish, self._publish, self._poll, self._register):
            self._threads.append(threading.Thread(target=each, daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for each in self._threads:
            each.join()

    def _ask(self, method: str, path: str, value: object, auth: tuple[str, str], **headers: str) -> Response | None:
        self.count += 1
        refusals = []
        for url in self.fleet.random.sample(self.urls, 2):
            try:
                answer = request(method, f"{url}{path}", value, auth, headers)
            except (OSError, http.client.HTTPException) as error:
                refusals.append(f"{type(error).__name__} of {url}")
                continue
            if answer.status == 200:
                return answer
            refusals.append(f"{answer.status} {answer.body[:200]!r} of {url}")
        self.failed.append(f"{method} {path}: {', '.join(refusals)}")
        return None

    def _publish(self) -> None:
        while not self._end.wait(0.01):
            document = self.fleet.document()
            key = {"Idempotency-Key": str(uuid.uuid4())}
            answer = self._ask("POST", "/api/v1/config", document, ADMIN, **key)
            if answer is not None:
                self.fleet.history.acknowledged(answer.headers["etag"].strip('"'), strict_json.checksum(document))

    def _poll(self) -> None:
        while not self._end.wait(0.01):
            self._ask("GET", "/api/v1/config", None, AGENT)

    def _register(self) -> None:
        while not self._end.wait(0.05):
            self._ask("POST", "/api/v1/register", {"hostname": "h", "agent_id": f"a{self.count % 20}"}, AGENT)


def replace(process: Process, place: Path) -> None:
    """Stop a controller as an operator does, and start the later release in its place."""
    status = process.stop()
    assert status == 0, f"{process.name} ended with {status}"
    process.environ["PYTHONPATH"] = str(place)
    process.start()


@row(
    "H-12",
    "two releases, one upgraded after the other",
    "SIGTERM, then a release with one more migration; publishes, polls, registrations",
    "requests that fail twice 0; numbers 1 to n; both releases serve one history",
    needs=("postgres",),
    rounds=5,
    most=300,
)
def rolling(fleet: FaultHarness) -> None:
    place = later_release(fleet.folder)
    with Pair(fleet) as pair:
        fleet.begin()
        both = [fleet.controller, another(fleet)]
        schema = pair.ask("SELECT version FROM schema_version")
        with Balanced(fleet, [base_of(each) for each in both]) as load:
            for process in reversed(both):
                time.sleep(1)
                replace(process, place)
                built = [dict(labels) for (name, labels) in fleet.metrics(process) if name == "confd_build_info"]
                fleet.claim(built == [{"version": _VERSION}], f"{process.name} is the later release: {built}")
            time.sleep(1)
        fleet.claim(load.count > 200, f"{load.count} requests are enough")
        fleet.claim(not load.failed, f"{len(load.failed)} of {load.count} requests failed twice: {load.failed[:3]}")
        after = pair.ask("SELECT version FROM schema_version")
        fleet.claim(int(str(after)) == int(str(schema)) + 1, f"the later release migrated: {schema}, {after}")
        pair.read()
        fleet.publish()
        fleet.converges(BOUND)
