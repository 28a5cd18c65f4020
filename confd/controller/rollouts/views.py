"""Rollouts as people see them: what the store keeps, judged by what this controller knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property

from attrs import define, frozen

from confd.controller.interfaces import IRolloutStore
from confd.controller.rollouts.decide import (
    Clocks,
    Counts,
    OutcomeName,
    Surroundings,
    count,
    outcome,
    required,
    settled,
)
from confd.controller.rollouts.driver import RolloutDriver
from confd.rollouts.rollout import Member, Rollout


@frozen
class RolloutView:
    """
    A rollout as people see it.

    @ivar around: what the controller knows of its agents.
    @ivar clocks: of an open rollout; C{None} until this controller has considered it.
    @ivar bake_left: seconds until this controller has watched the step for the whole bake; a pause restarts the bake.
    @ivar frozen_until: when the freeze of the namespace ends, UTC; C{None} while none is active.
    """

    rollout: Rollout
    members: Sequence[Member]
    around: Surroundings
    clocks: Clocks | None = None
    bake_left: float = 0.0
    frozen_until: datetime | None = None

    @cached_property
    def counts(self) -> Counts:
        """The members by outcome."""
        return count(self.members, self.rollout, self.around)

    @property
    def settled(self) -> int:
        """Members that stayed applied for the bake."""
        return settled(self.rollout, self.counts, self.clocks or Clocks())

    @property
    def required(self) -> int:
        """Settled members that the gate needs."""
        return required(self.rollout, self.counts)

    @property
    def checks(self) -> Mapping[str, bool | None]:
        """The verdicts in the present step by name; C{None} where the gate waits for one."""
        names = self.rollout.plan.wave(self.rollout.wave).checks
        return {**dict.fromkeys(names), **self.rollout.verdicts}

    @property
    def patience_left(self) -> float:
        """Seconds until the wave is stalled; a pause stops the clock, and its end restarts it."""
        idle = 0.0 if self.clocks is None or self.rollout.state == "paused" else self.clocks.idle
        return max(0.0, self.rollout.plan.wave(self.rollout.wave).patience - idle)

    def outcome(self, member: Member) -> OutcomeName:
        """Return the outcome of a member."""
        return outcome(member, self.rollout, self.around)


@define(eq=False)
class RolloutViews:
    """Looks at rollouts."""

    _store: IRolloutStore
    _driver: RolloutDriver

    async def find(self, number: int) -> RolloutView:
        """
        Return a rollout as the store has it.

        @raise NotFound: C{unknown_rollout}.
        """
        rollout, members = await self._store.rollout(number)
        return self.view(rollout, members)

    def present(self, namespace: str) -> RolloutView | None:
        """
        Return the open rollout of a namespace as this controller considered it last.

        @return: C{None} without one, and until the controller has considered its present step.
        """
        found = self._driver.considered(namespace)
        return None if found is None else self.view(*found)

    def view(self, rollout: Rollout, members: Sequence[Member]) -> RolloutView:
        """Return a rollout with what the controller knows of its agents."""
        around = self._driver.surroundings(rollout.namespace)
        timed = self._driver.clocks(rollout)
        until = self._driver.frozen_until(rollout.namespace) if rollout.open else None
        if timed is None:
            return RolloutView(rollout, members, around, frozen_until=until)
        clocks, bake_left = timed
        if rollout.state == "paused":
            bake_left = rollout.plan.wave(rollout.wave).bake
        return RolloutView(rollout, members, around, clocks, bake_left, until)
