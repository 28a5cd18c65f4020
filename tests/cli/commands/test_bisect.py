"""Tests of C{bisect}: the first bad version is found in few trials, and no rollout stays open."""

import itertools
import json
import signal

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.commands.bisect import first_bad, trials
from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from tests.cli.harness import CliHarness, answer, current_config, member, refusal, rollout

ROLLOUTS = "/api/v1/rollouts"
OVER = refusal(409, "rollout_over", "Rollout 12 is aborted.")


@define(eq=False)
class Canary:
    """
    A controller with one agent, which fails from a version on.

    @ivar culprit: the first version that fails.
    @ivar answers: whether the agent reports.
    @ivar faults: by the number of a request, an exception in the place of its answer, or a signal that arrives with it.
    """

    culprit: int
    answers: bool = True
    faults: dict[int, BaseException | signal.Signals] = field(factory=dict)
    tried: list[int] = field(factory=list)
    plan: dict = field(factory=dict)
    state: str = ""
    candidate: int = 140
    requests: int = 0
    keys: dict = field(factory=dict)

    def serve(self, request):
        """Answer a request, and then perhaps lose the answer."""
        self.requests += 1
        key = request.headers.get("Idempotency-Key")
        if key is None or key not in self.keys:
            self.keys[key] = self._answer(request)
        fault = self.faults.get(self.requests)
        if isinstance(fault, signal.Signals):
            signal.raise_signal(fault)
        elif fault is not None:
            raise fault
        return self.keys[key]

    def _answer(self, request):
        verb = request.path.removeprefix(ROLLOUTS)
        if request.method == "POST" and verb == "":
            assert not self.state
            self.state, self.plan = "running", request.body["plan"]
        if verb == "/12/abort":
            if self.state != "running":
                return OVER
            self.state = "aborted"
        elif request.method == "POST":
            self.tried.append(request.body["rollback_of"])
            self.candidate += 1
        body = rollout(self.state or "completed", candidate=self.candidate, plan=self.plan)
        if verb == "/12/agents":
            outcome = "pending" if not self.answers else "failed" if self.tried[-1] >= self.culprit else "applied"
            return answer({"items": [member("canary-1", outcome, "no such key" if outcome == "failed" else None)]})
        if verb == "":
            if request.method == "POST":
                return answer({"version": self.candidate, "rollout": body}, 202)
            return answer({"items": [body] if self.state else []})
        return answer(body)


class SearchTests(SynchronousTestCase):
    @given(st.integers(1, 1000), st.data())
    def test_every_culprit_is_found_in_few_trials(self, versions, data):
        good = data.draw(st.integers(1, 500))
        culprit = data.draw(st.integers(good + 1, good + versions))
        tried = []

        def is_bad(version):
            tried.append(version)
            return version >= culprit

        self.assertEqual(first_bad(good, good + versions, is_bad), culprit)
        self.assertTrue(len(tried) <= trials(versions), tried)
        self.assertTrue(all(good < each < good + versions for each in tried), tried)

    def test_twenty_versions_take_five_trials(self):
        self.assertEqual([trials(each) for each in (1, 2, 3, 4, 5, 16, 17, 20, 32)], [0, 1, 2, 2, 3, 4, 5, 5, 5])


class BisectTests(SynchronousTestCase):
    """C{bisect}"""

    def search(self, canary, *words, **how):
        """Type the command."""
        self.cli = CliHarness()
        table = self.cli.controller.table
        paths = ("", "/12", "/12/agents", "/12/replace", "/12/abort")
        table |= {f"{method} {ROLLOUTS}{path}": canary.serve for method in ("GET", "POST") for path in paths}
        table["GET /api/v1/config"] = current_config({}, version=140)
        for version in range(120, 141):
            table[f"GET /api/v1/config/versions/{version}"] = current_config(
                {}, version=version, author="alice", updated_at="2026-11-24T12:00:00Z", comment="new key"
            )
        table["GET /api/v1/config/diff"] = answer({"from": 1, "to": 2, "text": "-x\n+y\n", "patch": [1]})
        words = ("bisect", "--from", "120", "--agent", "canary-1", *words)
        return self.cli.type(*words, **({"answers": "y\n"} | how))

    def test_every_culprit_of_twenty_is_found_and_the_rollout_is_aborted(self):
        for culprit in range(121, 141):
            canary = Canary(culprit)
            ended = self.search(canary, "--to", "140")
            self.assertEqual(ended.status, 0, ended.err)
            self.assertIn(f"Version {culprit} is the first bad version", ended.out)
            self.assertTrue(len(canary.tried) <= 5, canary.tried)
            self.assertEqual(canary.state, "aborted")

    def test_answer_explains_the_version(self):
        canary = Canary(131)
        ended = self.search(canary)
        self.assertIn("Try at most 5 versions between 120 and 140 on the agent canary-1?", ended.err)
        self.assertIn("Version 130 is good\n", ended.err)
        self.assertIn("Version 131 is bad: no such key\n", ended.err)
        for said in ("2026-11-24 12:00:00Z by alice", "new key", "-x\n+y\n"):
            self.assertIn(said, ended.out)
        wave = {"select": "id=canary-1", "count": 1, "hold": True}
        self.assertEqual(canary.plan["waves"], [wave])
        value = json.loads(self.search(Canary(131), "-o", "json").out)
        self.assertEqual((value["last_good"], value["first_bad"]), (130, 131))
        self.assertEqual(value["trials"][0], {"version": 130, "bad": False, "why": ""})

    def test_probe_judges_versions_that_the_worker_takes(self):
        path = self.mktemp()
        script = f'echo x >> {path}; echo testing; test "$(wc -l < {path})" -gt 1'
        canary = Canary(1000)
        ended = self.search(canary, "--probe", script)
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("  testing\nVersion 130 is bad: the probe ended with status 1\n", ended.err)
        self.assertEqual(canary.tried[:3], [130, 125, 127])
        for status in (125, 127):
            canary = Canary(1000)
            ended = self.search(canary, "--probe", f"exit {status}")
            self.assertEqual((ended.status, canary.state), (Exit.FAILED, "aborted"))
            self.assertIn(f"status {status}, which is no verdict", ended.err)

    def test_no_rollout_stays_open_whatever_request_fails(self):
        """Each answer in turn is lost, refused, or interrupted by Ctrl-C."""
        undisturbed = Canary(131)
        self.search(undisturbed)
        kinds = (lambda: Unreached("It broke."), KeyboardInterrupt)
        for number, kind in itertools.product(range(1, undisturbed.requests), kinds):
            with self.subTest(number=number, kind=kind):
                canary = Canary(131, faults={number: kind()})
                ended = self.search(canary)
                self.assertEqual(canary.state, "aborted")
                self.assertEqual(ended.status, Exit.INTERRUPTED if kind is KeyboardInterrupt else 0, ended.err)
                self.assertNotIn("may be open", ended.err)

    def test_signal_that_ends_a_job_is_an_interrupt(self):
        arrived = []
        for number in (signal.SIGTERM, signal.SIGHUP):
            before = signal.signal(number, lambda *_: arrived.append(1))
            self.addCleanup(signal.signal, number, before)
            canary = Canary(131, faults={4: number})
            ended = self.search(canary)
            self.assertEqual((ended.status, canary.state), (Exit.INTERRUPTED, "aborted"))
            self.assertEqual(arrived, [])
            signal.raise_signal(number)
            self.assertEqual(arrived.pop(), 1)
            signal.signal(number, signal.SIG_IGN)
            self.assertEqual(self.search(Canary(131, faults={4: number})).status, 0)

    def test_abort_that_fails_is_reported(self):
        undisturbed = Canary(131)
        self.search(undisturbed)
        for fault, status in ((KeyboardInterrupt(), Exit.INTERRUPTED), (Unreached("It broke."), 0)):
            canary = Canary(131, faults=dict.fromkeys(range(undisturbed.requests, undisturbed.requests + 9), fault))
            ended = self.search(canary)
            self.assertEqual(ended.status, status, ended.err)
            self.assertIn("To take it back, run: confdctl rollout abort", ended.err)

    def test_agent_that_does_not_answer_ends_the_search(self):
        canary = Canary(131, answers=False)
        ended = self.search(canary, "--timeout", "5")
        self.assertEqual((ended.status, canary.state), (Exit.NO_QUORUM, "aborted"))
        self.assertIn("The agent canary-1 did not apply version 130 in 5 s", ended.err)

    def test_rollout_that_someone_else_changed_ends_the_search(self):
        canary = Canary(131)
        words = ("bisect", "--from", "120", "--agent", "canary-1", "-y")
        self.search(canary, answers="n\n")
        # A superseded rollout, and a candidate that this search did not deliver.
        for found in (rollout("superseded"), rollout(candidate=150)):
            canary.state = ""
            self.cli.controller.table[f"GET {ROLLOUTS}/12"] = answer(found)
            ended = self.cli.type(*words)
            self.assertEqual(ended.status, Exit.CONFLICT)
            self.assertIn("was changed by someone else", ended.err)

    def test_rollout_of_someone_else_is_not_aborted(self):
        self.search(Canary(131), answers="n\n")
        table = self.cli.controller.table
        table[f"POST {ROLLOUTS}"] = refusal(409, "rollout_active", "Rollout 12 is open.")
        table[f"GET {ROLLOUTS}"] = answer({"items": [rollout()]})
        ended = self.cli.type("bisect", "--from", "120", "--agent", "canary-1", "-y")
        self.assertEqual(ended.status, Exit.CONFLICT)
        self.assertEqual(self.cli.controller.requests("POST", f"{ROLLOUTS}/12/abort"), [])

    def test_agent_that_cannot_take_part_is_named(self):
        self.search(Canary(131), answers="n\n")
        self.cli.controller.table[f"POST {ROLLOUTS}"] = refusal(409, "no_eligible_agent")
        ended = self.cli.type("bisect", "--from", "120", "--agent", "canary-1", "-y")
        self.assertEqual(ended.status, Exit.CONFLICT)
        self.assertIn("The agent canary-1 of default is not live, or never reported.", ended.err)

    def test_nothing_starts_without_consent_or_with_wrong_versions(self):
        canary = Canary(131)
        self.assertEqual(self.search(canary, answers="n\n").status, Exit.FAILED)
        self.assertEqual(self.search(canary, answers=None).status, Exit.USAGE)
        for version in ("120", "119"):
            self.assertEqual(self.search(canary, "--to", version, "-y").status, Exit.USAGE)
        self.assertEqual(canary.requests, 0)

    def test_neighbour_versions_need_no_trial(self):
        canary = Canary(121)
        ended = self.search(canary, "--to", "121")
        self.assertIn("Version 121 is the first bad version, after 0 trials.", ended.out)
        self.assertEqual(canary.requests, 0)
