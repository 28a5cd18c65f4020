"""Each endpoint × each role × a granted, another and an unknown namespace: generated from the declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from confd.web.api.endpoint import Endpoint, Open, Scope, endpoints_of
from confd.web.auth.principals import Role
from tests.controller.harness import ADMIN, ControllerHarness
from tests.conversation import Reply
from tests.web.auth.test_principals import ROLES_OF

#: The permissions of each endpoint, and where its namespace comes from. C{-}: no permission is needed.
EXPECTED = """
    POST   /api/v1/register                                    agent.serve                            body
    POST   /api/v1/report                                      agent.serve                            body
    GET    /api/v1/config                                      agent.serve,config.read                query
    GET    /api/v1/stream                                      agent.serve,config.read                query
    GET    /api/v1/schema                                      config.read                            any
    GET    /api/v1/config/history                              config.read                            query
    GET    /api/v1/config/versions/<int:version>               config.read                            query
    GET    /api/v1/config/diff                                 config.read                            query
    GET    /api/v1/config/convergence                          agents.read                            query
    GET    /api/v1/config/versions/<int:version>/convergence   agents.read                            query
    GET    /api/v1/config/versions/<int:version>/certificate   rollouts.read                          query
    GET    /api/v1/agents                                      agents.read                            query
    GET    /api/v1/prometheus/agents                           agents.read                            any
    GET    /api/v1/events                                      agents.read                            query
    GET    /api/v1/agents/<agent_id>                           agents.read                            agent
    DELETE /api/v1/agents/<agent_id>                           agents.write                           agent
    POST   /api/v1/agents/<agent_id>/reset                     agents.write                           agent
    POST   /api/v1/agents/<agent_id>/labels                    agents.write                           agent
    GET    /api/v1/blocked                                     agents.write                           cluster
    DELETE /api/v1/blocked/<agent_id>                          agents.write                           cluster
    POST   /api/v1/config                                      config.publish                         query
    POST   /api/v1/config?propose=true                         change.propose                         query
    POST   /api/v1/config/rollback                             config.publish                         query
    POST   /api/v1/config/rollback?propose=true                change.propose                         query
    POST   /api/v1/config/import                               admin                                  query
    POST   /api/v1/rollouts                                    config.publish                         query
    POST   /api/v1/rollouts?propose=true                       change.propose                         query
    GET    /api/v1/rollouts                                    rollouts.read                          query
    GET    /api/v1/rollouts/<int:number>                       rollouts.read                          rollout
    GET    /api/v1/rollouts/<int:number>/agents                rollouts.read                          rollout
    POST   /api/v1/rollouts/<int:number>/pause                 rollout.stop                           rollout
    POST   /api/v1/rollouts/<int:number>/abort                 rollout.stop                           rollout
    POST   /api/v1/rollouts/<int:number>/resume                rollout.advance                        rollout
    POST   /api/v1/rollouts/<int:number>/promote               rollout.advance,rollout.promote_held   rollout
    POST   /api/v1/rollouts/<int:number>/replace               config.publish                         rollout
    POST   /api/v1/rollouts/<int:number>/checks                check.post                             rollout
    GET    /api/v1/plans                                       rollouts.read                          any
    POST   /api/v1/plans                                       admin                                  cluster
    DELETE /api/v1/plans/<name>                                admin                                  cluster
    GET    /api/v1/namespaces                                  config.read                            any
    POST   /api/v1/namespaces                                  admin                                  cluster
    DELETE /api/v1/namespaces/<name>                           admin                                  cluster
    GET    /api/v1/namespaces/<name>/policy                    changes.read                           namespace
    POST   /api/v1/namespaces/<name>/policy                    admin                                  cluster
    GET    /api/v1/audit                                       audit.read                             any
    GET    /api/v1/backup                                      admin                                  cluster
    POST   /api/v1/webhooks/ping                               admin                                  cluster
    GET    /api/v1/cluster                                     config.read                            cluster
    POST   /api/v1/epoch/raise                                 admin                                  cluster
    POST   /api/v1/cluster/adopt                               admin                                  cluster
    POST   /api/v1/signing-key/rotate                          admin                                  cluster
    GET    /api/v1/changes                                     changes.read                           query
    POST   /api/v1/changes                                     change.propose                         query
    GET    /api/v1/changes/<int:number>                        changes.read                           change
    POST   /api/v1/changes/<int:number>/approve                change.approve                         change
    POST   /api/v1/changes/<int:number>/reject                 change.approve                         change
    POST   /api/v1/changes/<int:number>/withdraw               change.propose                         change
    POST   /api/v1/changes/<int:number>/schedule               config.publish                         change
    POST   /api/v1/changes/<int:number>/rebase                 change.propose                         change
    POST   /api/v1/changes/<int:number>/apply                  config.publish                         change
    GET    /api/v1/freezes                                     changes.read                           any
    POST   /api/v1/freezes                                     freeze.write                           any
    DELETE /api/v1/freezes/<int:number>                        freeze.write                           any
    GET    /api/v1/tokens                                      admin                                  cluster
    POST   /api/v1/tokens                                      admin                                  cluster
    GET    /api/v1/tokens/<token_id>                           admin                                  cluster
    DELETE /api/v1/tokens/<token_id>                           admin                                  cluster
    POST   /api/v1/tokens/<token_id>/rotate                    admin                                  token
    GET    /api/v1/whoami                                      -                                      caller
    GET    /                                                   config.read                            any
    GET    /signin                                             -                                      anyone
    POST   /signin                                             -                                      anyone
    POST   /signout                                            -                                      anyone
    GET    /health                                             -                                      anyone
    GET    /ready                                              -                                      anyone
    GET    /ready/read                                         -                                      anyone
    GET    /metrics                                            -                                      anyone
"""


@frozen
class Row:
    """What an endpoint needs, written by hand."""

    needs: frozenset[str]
    scope: str

    def roles(self) -> set[str]:
        """Return the roles that have one of the permissions."""
        return set().union(*(ROLES_OF[each] for each in self.needs))


ROWS = {
    f"{method} {path}": Row(frozenset(needs.split(",")) - {"-"}, scope)
    for method, path, needs, scope in (line.split() for line in EXPECTED.strip().splitlines())
}

#: The namespace in which callers have their role, another one, and one that does not exist.
MINE, OTHER, UNKNOWN = "team-mine", "team-other", "team-none"

DOCUMENT = {"url": "https://example.com"}


def expected(row: Row, role: str, namespace: str) -> str:
    """Return C{allowed}, C{forbidden} or C{hidden}."""
    if not row.needs:
        return "allowed"
    everywhere = role == "admin"
    if row.scope in ("any", "body") and role not in row.roles():
        return "forbidden"
    if row.scope == "any":
        return "allowed"
    if row.scope in ("cluster", "token"):
        return "allowed" if everywhere and role in row.roles() else "forbidden"
    if not everywhere and namespace != MINE:
        return "hidden"
    return "allowed" if role in row.roles() else "forbidden"


#: The codes of objects that do not exist, or are hidden.
HIDDEN = ("unknown_namespace", "unknown_agent", "unknown_rollout", "unknown_change")


def verdict(reply: Reply) -> str:
    """Return the answer of the guard: a handler may answer an allowed request with any other error."""
    if reply.status == 403 and reply.code == "forbidden":
        return "forbidden"
    if reply.status == 404 and reply.code in HIDDEN:
        return "hidden"
    return f"{reply.status} {reply.code}" if reply.status in (401, 500) else "allowed"


def is_stream(declared: Endpoint) -> bool:
    """Return whether an answer goes on for ever."""
    return declared.path in ("/api/v1/stream", "/api/v1/events")


def bearer(secret: str) -> dict[str, str]:
    """Return the headers that send a secret."""
    return {"Authorization": f"Bearer {secret}"}


class MatrixTests(SynchronousTestCase):
    """The check of permissions, over HTTP."""

    def setUp(self) -> None:
        self.harness = ControllerHarness(LOGIN_FAILURES="0", CHANGES_PER_MINUTE="0")
        self.addCleanup(self.harness.stop)
        self.agents, self.rollouts, self.changes = {UNKNOWN: "no-such-agent"}, {UNKNOWN: "987"}, {UNKNOWN: "987"}
        for name in (MINE, OTHER):
            self.admin("POST", "/api/v1/namespaces", {"name": name, "config": DOCUMENT})
            self.agents[name] = self.harness.join(namespace=name)
            self.harness.report(self.agents[name], self.harness.tag(name), namespace=name)
            started = self.admin("POST", f"/api/v1/config?namespace={name}&rollout=canary", DOCUMENT)
            self.rollouts[name] = str(started.json["rollout"]["id"])
            proposed = self.admin("POST", f"/api/v1/changes?namespace={name}", {"config": DOCUMENT})
            self.changes[name] = str(proposed.json["id"])
        self.secrets = {each.value: self.create(each.value)["token"] for each in Role}

    def create(self, role: str, name: str = "", **rest: object) -> Any:
        """Create a token with a role; that of an admin is for every namespace."""
        grants = [{"role": role, "namespaces": ["*"] if role == "admin" else [MINE]}]
        reply = self.admin("POST", "/api/v1/tokens", {"name": name or role, "grants": grants} | rest)
        self.assertEqual(reply.status, 201)
        return reply.json

    def admin(self, method: str, path: str, body: object = None) -> Reply:
        """Send one request as the shared admin."""
        caller = self.harness.caller()
        reply = caller.request(method, path, auth=ADMIN, json=body)
        caller.hang_up()
        return reply

    def ask(self, method: str, path: str, secret: str, body: object = None) -> Reply:
        """Send one request with a token, on a connection of its own."""
        caller = self.harness.caller()
        carried = {} if method in ("GET", "HEAD") else {"json": {} if body is None else body}
        reply = caller.request(method, path, headers=bearer(secret), **carried)
        caller.hang_up()
        return reply

    def declared(self) -> Iterator[Endpoint]:
        """Yield the declarations of all endpoints but the files of the dashboard."""
        for api in self.harness.apis:
            for declared, _ in endpoints_of(api):
                if not declared.path.startswith("/dashboard/"):
                    yield declared

    def calls(self) -> Iterator[tuple[Endpoint, str]]:
        """Yield the declarations, each with its row; a call that proposes a change has a row of its own."""
        for declared in self.declared():
            name = f"{declared.method} {declared.path}"
            yield declared, name
            if declared.proposes:
                yield declared, f"{name}?propose=true"

    def request(self, declared: Endpoint, secret: str, namespace: str, name: str = "") -> Reply:
        """Send a request to an endpoint, which acts in a namespace."""
        path = declared.path.replace("<agent_id>", self.agents[namespace]).replace("<int:version>", "1")
        numbers = self.changes if declared.scope is Scope.CHANGE else self.rollouts
        path = path.replace("<int:number>", numbers[namespace])
        path = path.replace("<name>", namespace) if declared.scope is Scope.NAMESPACE else path
        path = re.sub(r"<\w+>", "nothing", path)
        if declared.scope is Scope.QUERY:
            path += f"?namespace={namespace}{'&propose=true' * name.endswith('?propose=true')}"
        elif declared.method == "DELETE":
            path += "?nonsense=1"
        # Neither a stream nor a change is to begin: the body or the query of a change is invalid.
        method = "HEAD" if is_stream(declared) else declared.method
        body: dict[str, object] = {"nonsense": 1}
        if declared.scope is Scope.BODY:
            body = {"namespace": namespace, "agent_id": "an-agent", "version": "7", "state": "applied"}
        return self.ask(method, path, secret, body)

    def test_each_endpoint_is_in_the_table(self) -> None:
        found = {
            name: Row(
                frozenset(each.value for each in declared.needed(b"/?" + name.partition("?")[2].encode(), None)),
                declared.needs.value if isinstance(declared.needs, Open) else declared.scope.value,
            )
            for declared, name in self.calls()
        }
        self.assertEqual(found, ROWS)

    def test_each_role_may_do_what_the_table_says_and_nothing_else(self) -> None:
        wrong, count = [], 0
        for declared, name in self.calls():
            for role in (each.value for each in Role):
                for namespace in (MINE, OTHER, UNKNOWN):
                    meant = expected(ROWS[name], role, namespace)
                    if role == "admin" and namespace == UNKNOWN and meant == "allowed":
                        continue
                    reply = self.request(declared, self.secrets[role], namespace, name)
                    if is_stream(declared):
                        found, meant = str(reply.status), {"allowed": "200", "forbidden": "403", "hidden": "404"}[meant]
                    else:
                        found = verdict(reply)
                    count += 1
                    if found != meant:
                        wrong.append(f"{name} as {role} in {namespace}: {found}, not {meant}")
        self.assertEqual(wrong, [])
        self.assertGreater(count, 900)

    def test_hidden_object_gets_the_same_bytes_as_an_unknown_one(self) -> None:
        for declared in self.declared():
            name = f"{declared.method} {declared.path}"
            if expected(ROWS[name], "operator", OTHER) == "hidden" and declared.scope is not Scope.BODY:
                hidden, unknown = (self.request(declared, self.secrets["operator"], each) for each in (OTHER, UNKNOWN))
                self.assertEqual(self.normal(hidden, OTHER), self.normal(unknown, UNKNOWN), name)

    def normal(self, reply: Reply, namespace: str) -> tuple[int, list[str], str]:
        """Return a response without what was in its request."""
        body = reply.body.decode()
        for each in (reply.headers["x-request-id"], namespace, self.agents[namespace], self.rollouts[namespace]):
            body = body.replace(each, "?")
        return reply.status, sorted(reply.headers), body

    def test_refusal_names_the_missing_permission(self) -> None:
        reply = self.ask("POST", f"/api/v1/config?namespace={MINE}", self.secrets["viewer"])
        self.assertEqual(reply.json["details"], [{"missing": "config.publish", "namespace": MINE}])

    def test_invalid_query_is_reported_after_the_permission(self) -> None:
        for namespace, answer in ((MINE, (400, "bad_field")), (OTHER, (404, "unknown_namespace"))):
            for wrong in ("limit=no", "nonsense=1"):
                reply = self.ask("GET", f"/api/v1/agents?namespace={namespace}&{wrong}", self.secrets["viewer"])
                self.assertEqual((reply.status, reply.code), answer)

    def test_namespace_is_the_one_of_the_handler(self) -> None:
        for query in (
            "",
            "?namespace=",
            "?namespace=default",
            "?namespace=team%2Dother",
            f"?namespace={OTHER}&limit=1",
        ):
            reply = self.ask("GET", f"/api/v1/agents{query}", self.secrets["viewer"])
            self.assertEqual((reply.status, reply.code), (404, "unknown_namespace"), query)
        twice = self.ask("GET", f"/api/v1/agents?namespace={OTHER}&namespace={MINE}", self.secrets["viewer"])
        self.assertEqual((twice.status, twice.code), (400, "bad_query"))

    def test_list_of_namespaces_shows_granted_ones(self) -> None:
        reply = self.ask("GET", "/api/v1/namespaces", self.secrets["viewer"])
        self.assertEqual([each["name"] for each in reply.json], [MINE])

    def test_invalid_token_gets_401_everywhere(self) -> None:
        expiring = self.create("admin", "expiring", expires_in=60)["token"]
        revoked, rotated = self.create("admin", "revoked"), self.create("admin", "rotated")
        self.admin("DELETE", f"/api/v1/tokens/{revoked['id']}")
        renewed = self.admin("POST", f"/api/v1/tokens/{rotated['id']}/rotate").json["token"]
        valid = self.secrets["admin"]
        self.assertEqual([self.ask("GET", "/api/v1/tokens", each).status for each in (expiring, renewed)], [200, 200])
        self.harness.clock.advance(60)
        forged = [valid[:-2] + "AA", valid[:15] + "A" * 43, f"confd_00000000_{'A' * 43}"]
        for declared in self.declared():
            for secret in (*forged, revoked["token"], rotated["token"], expiring):
                reply = self.request(declared, secret, MINE)
                self.assertEqual(reply.status == 401, declared.needs is not Open.ANYONE, (declared, secret))
                if reply.status == 401 and not is_stream(declared):
                    code = "token_expired" if secret == expiring else "wrong_credentials"
                    self.assertEqual(reply.code, code, (declared, secret))
        self.assertEqual(self.ask("GET", "/api/v1/tokens", renewed).status, 200)
