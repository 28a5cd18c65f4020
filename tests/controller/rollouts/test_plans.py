"""Plans: their rules, their defaults and the built-in ones."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.rollouts.plans import BUILT_IN, check_name, parse_plan, plan_body, resolve
from confd.errors import Conflict, Unprocessable
from confd.rollouts.plan import RolloutPlan


class ParseTests(SynchronousTestCase):
    def pointers(self, **plan: Any) -> list[str]:
        """Return what is wrong with a plan, by JSON pointers."""
        with self.assertRaises(Unprocessable) as caught:
            parse_plan({"name": "x", "waves": []} | plan)
        self.assertEqual(caught.exception.code, "bad_plan")
        return [str(each["pointer"]) for each in caught.exception.details]

    def test_rules(self) -> None:
        for pointer, plan in (
            ("/name", {"name": "Upper"}),
            ("/name", {"name": "-a"}),
            ("/name", {"name": "a" * 64}),
            ("/name", {"name": "abort"}),
            ("/name", {"name": "direct"}),
            ("/select", {"select": "=="}),
            ("/waves", {"waves": [{"count": 1}] * 17}),
            ("/waves/0", {"waves": [{}]}),
            ("/waves/1", {"waves": [{"count": 1}, {"count": 1, "percent": 1}]}),
            ("/waves/0/count", {"waves": [{"count": 0}]}),
            ("/waves/0/percent", {"waves": [{"percent": 101}]}),
            ("/waves/0/select", {"waves": [{"count": 1, "select": "a in"}]}),
            ("/waves/1/percent", {"waves": [{"percent": 50}, {"percent": 49}]}),
            ("/waves/0/quorum", {"waves": [{"count": 1, "quorum": 0}]}),
            ("/bake", {"bake": 604801}),
            ("/patience", {"patience": 2592001}),
            ("/max_failures", {"max_failures": -1}),
            ("/max_failures", {"max_failures": "101%"}),
            ("/max_failures", {"max_failures": "2 %"}),
            ("/on_failure", {"on_failure": "continue"}),
            ("/on_stall", {"on_stall": "wait"}),
            ("/salt", {"salt": "pepper"}),
            ("/last", {"last": {"hold": True}}),
            ("/last", {"last": {"on_stall": "pause"}}),
            ("/last", {"last": {"count": 1}}),
            ("/checks/0", {"checks": ["SLO"]}),
            ("/checks", {"checks": [f"c{number}" for number in range(9)]}),
            ("/waves/0/checks/0", {"waves": [{"count": 1, "checks": [""]}]}),
            ("/parallel", {"parallel": -1}),
            ("/last", {"last": {"parallel": 1}}),
        ):
            self.assertEqual(self.pointers(**plan), [pointer], plan)

    def test_other_selectors_may_have_lower_percents(self) -> None:
        waves = [{"percent": 50}, {"percent": 10, "select": "gpu"}, {"percent": 50}]
        self.assertEqual(plan_body(parse_plan({"name": "x", "waves": waves}))["waves"], waves)

    def test_not_an_object(self) -> None:
        for value in (None, [], "careful", {"name": "x"}):
            self.assertRaises(Unprocessable, parse_plan, value)

    def test_body_is_what_was_written(self) -> None:
        body = {
            "name": "x",
            "waves": [{"count": 1, "hold": True}],
            "last": {"quorum": 90},
            "bake": 0,
            "salt": "namespace",
        }
        self.assertEqual(plan_body(parse_plan(body)), body)
        self.assertEqual(parse_plan(plan_body(parse_plan(body))), parse_plan(body))


class ResolveTests(SynchronousTestCase):
    def resolve(self, interval: int = 30, **plan: Any) -> RolloutPlan:
        return resolve(parse_plan({"name": "x", "waves": [{"count": 1}]} | plan), interval)[0]

    def test_defaults(self) -> None:
        plan = self.resolve(30)
        for wave in (*plan.waves, plan.last):
            self.assertEqual((wave.quorum, wave.bake, wave.patience), (100, 120, 720))
            self.assertEqual(
                (wave.max_failures, wave.on_failure, wave.on_stall, wave.hold), (0, "abort", "pause", False)
            )
        self.assertEqual((plan.select, plan.verified, plan.salt), ("", False, "rollout"))

    def test_checks_and_parallel(self) -> None:
        plan = self.resolve(checks=["slo", "slo"], parallel=2, last={"checks": []})
        self.assertEqual([(each.checks, each.parallel) for each in (*plan.waves, plan.last)], [(("slo",), 2), ((), 0)])
        plan = self.resolve(waves=[{"count": 1, "checks": ["load"], "parallel": 3}], checks=["slo"])
        self.assertEqual((plan.waves[0].checks, plan.waves[0].parallel), (("load",), 3))
        self.assertEqual((plan.last.checks, plan.last.parallel), (("slo",), 0))

    def test_patience_grows_with_the_interval(self) -> None:
        self.assertEqual(self.resolve(100).last.patience, 400 + 800)
        self.assertEqual(self.resolve(30, bake=1000).last.patience, 1600)

    def test_wave_wins_over_plan(self) -> None:
        waves = [{"count": 1, "quorum": 50, "bake": 0, "hold": False}, {"percent": 10}]
        plan = self.resolve(30, waves=waves, quorum=90, bake=60, hold=True, on_stall="continue", last={"quorum": 10})
        self.assertEqual([each.quorum for each in (*plan.waves, plan.last)], [50, 90, 10])
        self.assertEqual([each.bake for each in (*plan.waves, plan.last)], [0, 60, 60])
        self.assertEqual([each.hold for each in (*plan.waves, plan.last)], [False, True, False])
        self.assertEqual([each.on_stall for each in (*plan.waves, plan.last)], ["continue", "continue", "pause"])

    def test_hasty_patience_is_refused(self) -> None:
        for plan, pointer in (
            ({"patience": 239}, "/waves/0/patience"),
            ({"last": {"patience": 1}}, "/last/patience"),
        ):
            with self.assertRaises(Unprocessable) as caught:
                self.resolve(30, **plan)
            self.assertEqual(
                (caught.exception.code, caught.exception.details[0]["pointer"]), ("plan_too_hasty", pointer)
            )
        self.assertEqual(self.resolve(30, patience=240).last.patience, 240)

    def test_short_bake_warns(self) -> None:
        spec = parse_plan({"name": "x", "waves": [{"count": 1, "bake": 90}], "bake": 89})
        _, warnings = resolve(spec, 30)
        self.assertEqual(len(warnings), 1)
        self.assertIn("wave 2 ", warnings[0])
        self.assertEqual(resolve(BUILT_IN["careful"], 30)[1], [])

    def test_stored_plan_survives_the_way_through_the_database(self) -> None:
        plan = self.resolve(max_failures="2%")
        self.assertEqual(msgspec.json.decode(msgspec.json.encode(plan), type=RolloutPlan), plan)


class BuiltInTests(SynchronousTestCase):
    def test_waves(self) -> None:
        canary, careful = (resolve(BUILT_IN[name], 30)[0] for name in ("canary", "careful"))
        self.assertEqual([(each.count, each.percent) for each in canary.waves], [(1, None)])
        self.assertEqual([(each.count, each.percent) for each in careful.waves], [(1, None), (None, 10), (None, 50)])
        self.assertEqual([each.max_failures for each in careful.waves], [0, 0, "2%"])
        for plan in (canary, careful):
            self.assertEqual((plan.last.max_failures, plan.last.on_failure), ("2%", "pause"))

    def test_cannot_be_changed(self) -> None:
        with self.assertRaises(Conflict) as caught:
            check_name("careful")
        self.assertEqual(caught.exception.code, "plan_built_in")
        check_name("mine")
