"""Who may do what, where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.access.patterns import matches, reaches
from confd.errors import Forbidden, NotFound
from confd.web.auth.principals import (
    CLUSTER,
    Grant,
    Permission,
    Place,
    Principal,
    Role,
    allow,
    permissions_of,
)

#: The table of the documentation: the roles that have each permission.
TABLE = """
    agent.serve             agent
    config.read             viewer proposer publisher approver operator admin
    agents.read             viewer proposer publisher approver operator admin
    rollouts.read           viewer proposer publisher approver operator admin
    changes.read            viewer proposer publisher approver operator admin
    audit.read              viewer proposer publisher approver operator admin
    change.propose          proposer publisher admin
    config.publish          publisher admin
    rollout.stop            publisher operator admin
    rollout.advance         publisher admin
    rollout.promote_held    publisher approver admin
    change.approve          approver admin
    agents.write            operator admin
    freeze.write            operator admin
    check.post              operator checker admin
    admin                   admin
"""

ROLES_OF = {line.split()[0]: set(line.split()[1:]) for line in TABLE.strip().splitlines()}

NAMES = st.text("ab-1", min_size=1, max_size=6)
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: name + "*"), st.just("*"))


class RoleTests(SynchronousTestCase):
    """Permissions of roles."""

    def test_roles_have_the_permissions_of_the_table(self) -> None:
        found = {
            permission.value: {role.value for role in Role if permission in permissions_of(role)}
            for permission in Permission
        }
        self.assertEqual(found, ROLES_OF)


class PatternTests(SynchronousTestCase):
    """Patterns of namespaces."""

    def test_pattern_is_a_name_or_a_prefix(self) -> None:
        for pattern, fits, differs in (
            ("billing", ["billing"], ["billing-2", "bill", "", "other"]),
            ("pay-*", ["pay-", "pay-in"], ["pay", "payroll", ""]),
            ("*", ["x", "default"], []),
        ):
            self.assertEqual([name for name in fits + differs if matches(pattern, name)], fits)

    def test_cluster_needs_the_pattern_for_every_namespace(self) -> None:
        self.assertTrue(Grant(Role.VIEWER, ("a", "*")).covers(CLUSTER))
        self.assertFalse(Grant(Role.VIEWER, ("a*", "b", "")).covers(CLUSTER))

    @given(PATTERNS, PATTERNS, NAMES)
    def test_pattern_reaches_another_only_if_it_matches_all_that_the_other_matches(
        self, pattern: str, other: str, name: str
    ) -> None:
        if reaches(pattern, other):
            self.assertTrue(matches(pattern, name) or not matches(other, name))
        else:
            longer = other[:-1] + "zz" if other.endswith("*") else other
            self.assertFalse(matches(pattern, longer))


class PrincipalTests(SynchronousTestCase):
    """Permissions of callers."""

    caller = Principal(
        "ci", "alice", "token", (Grant(Role.VIEWER, ("pay-*",)), Grant(Role.CHECKER, ("pay-in", "billing"))), "", "7f3a"
    )

    def test_permissions_are_the_union_over_the_grants(self) -> None:
        for namespace, held in (
            ("pay-in", permissions_of(Role.VIEWER) | {Permission.CHECK_POST}),
            ("pay-out", permissions_of(Role.VIEWER)),
            ("billing", {Permission.CHECK_POST}),
            ("other", set()),
            (CLUSTER, set()),
        ):
            self.assertEqual(self.caller.permissions(namespace), held, namespace)
        self.assertEqual(self.caller.patterns(Permission.CHECK_POST), ("pay-in", "billing"))
        self.assertEqual(Principal.shared("admin", Role.ADMIN).patterns(Permission.AUDIT_READ), ("*",))

    def test_name_of_a_token_cannot_be_taken_for_an_identity(self) -> None:
        self.assertEqual(self.caller.who, "token ci (7f3a)")
        self.assertEqual(Principal.shared("admin", Role.ADMIN).who, "admin")

    def test_refusal_hides_a_namespace_without_any_permission(self) -> None:
        unknown = NotFound("unknown_namespace", "It does not exist.")
        needs = (Permission.CONFIG_READ,)
        allow(self.caller, needs, Place("pay-out", lambda: unknown))
        hidden = self.assertRaises(NotFound, allow, self.caller, needs, Place("other", lambda: unknown))
        self.assertIs(hidden, unknown)
        shown = self.assertRaises(Forbidden, allow, self.caller, needs, Place("billing", lambda: unknown))
        self.assertEqual(shown.details, [{"missing": "config.read", "namespace": "billing"}])
        cluster = self.assertRaises(Forbidden, allow, self.caller, needs, Place())
        self.assertEqual(cluster.details, [{"missing": "config.read", "namespace": "*"}])
