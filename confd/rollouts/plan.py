"""The plan of a rollout: its waves, with all defaults resolved."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

#: In the place of the name of a plan: publish to all callers, and supersede an open rollout.
SUPERSEDE = "abort"


@frozen
class Wave:
    """
    One wave of a plan, with all defaults resolved.

    @ivar count: members after the wave; C{None} if C{percent} decides.
    @ivar percent: members after the wave, in percent of the pool; C{None} in the last wave, too.
    @ivar select: limits the pool to agents whose labels match this selector.
    @ivar quorum: percent of the members that are neither failed nor silent.
    @ivar bake: seconds that a member must stay applied.
    @ivar patience: seconds without a newly applied member after which the wave is stalled.
    @ivar max_failures: members, or percent of all members as C{"2%"}; more are too many.
    @ivar hold: wait for a person after the gate.
    @ivar checks: names of the checks that must pass in each step of the wave.
    @ivar parallel: members that may be pending before the wave exposes more of them; 0 sets no limit.
    """

    quorum: int
    bake: int
    patience: int
    max_failures: int | str
    on_failure: Literal["abort", "pause"]
    on_stall: Literal["pause", "abort", "continue"] = "pause"
    hold: bool = False
    count: int | None = None
    percent: int | None = None
    select: str = ""
    checks: tuple[str, ...] = ()
    parallel: int = 0

    def limit(self, members: int) -> int:
        """Return the failures that are accepted among all members of the rollout."""
        if isinstance(self.max_failures, int):
            return self.max_failures
        return members * int(self.max_failures.partition("%")[0]) // 100


@frozen
class RolloutPlan:
    """
    A plan with all defaults resolved to seconds, as a rollout stores it.

    @ivar select: limits every wave before the last one.
    @ivar verified: count only reports of workers whose document was read back.
    @ivar salt: C{rollout}: other agents come first each time; C{namespace}: the same agents.
    @ivar waves: all but the last.
    """

    name: str
    select: str
    verified: bool
    salt: Literal["rollout", "namespace"]
    waves: tuple[Wave, ...]
    last: Wave

    def wave(self, number: int) -> Wave:
        """Return a wave by its number, from 1; the number after all sized waves is that of the last wave."""
        return self.waves[number - 1] if number <= len(self.waves) else self.last

    @property
    def last_number(self) -> int:
        """The number of the last wave."""
        return len(self.waves) + 1
