"""Plans: the waves and the limits of a rollout, as people write them and as a rollout stores them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from confd.codec.selectors import parse_selector
from confd.codec.strict_json import JsonObject
from confd.codec.text import fault_of
from confd.errors import Conflict, Malformed, Unprocessable
from confd.rollouts.plan import RolloutPlan, Wave

T = TypeVar("T")

#: Names that are no plan: without a rollout, and in the place of an open one.
DIRECT, ABORT = "direct", "abort"

#: Poll intervals: of the default bake, the least of a bake, the default patience, and between bake and patience.
BAKE_INTERVALS, LEAST_BAKE_INTERVALS, PATIENCE_INTERVALS, BETWEEN_INTERVALS = 4, 3, 8, 4

#: The least seconds of the default patience beyond the bake.
LEAST_PATIENCE_SECONDS = 600

MAX_WAVES = 16

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

Percentage = Annotated[int, msgspec.Meta(ge=1, le=100)]
Bake = Annotated[int, msgspec.Meta(ge=0, le=604_800)]
Patience = Annotated[int, msgspec.Meta(ge=1, le=2_592_000)]
Failures = Annotated[int, msgspec.Meta(ge=0)] | Annotated[str, msgspec.Meta(pattern="^(100|[0-9]{1,2})%$")]
CheckName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,63}$")]
Checks = Annotated[list[CheckName], msgspec.Meta(max_length=8)]
Parallel = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
OnFailure = Literal["abort", "pause"]
OnStall = Literal["pause", "abort", "continue"]


class LastSpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of the last wave."""

    quorum: Percentage | None = None
    bake: Bake | None = None
    patience: Patience | None = None
    max_failures: Failures | None = None
    on_failure: OnFailure | None = None
    checks: Checks | None = None


class WaveSpec(LastSpec, forbid_unknown_fields=True, omit_defaults=True):
    """A wave with a size: C{count} or C{percent}."""

    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    percent: Percentage | None = None
    select: str = ""
    hold: bool | None = None
    on_stall: OnStall | None = None
    parallel: Parallel | None = None


class PlanSpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """
    A plan as people write it; C{None} stands for a default.

    @ivar bake: seconds; by default 4 poll intervals.
    @ivar patience: seconds; by default longer than C{bake}.
    """

    waves: Annotated[list[WaveSpec], msgspec.Meta(max_length=MAX_WAVES)]
    name: str = ""
    last: LastSpec = msgspec.field(default_factory=LastSpec)
    select: str = ""
    quorum: Percentage = 100
    bake: Bake | None = None
    patience: Patience | None = None
    max_failures: Failures = 0
    on_failure: OnFailure = "abort"
    on_stall: OnStall = "pause"
    hold: bool = False
    checks: Checks = []
    parallel: Parallel = 0
    verified: bool = False
    salt: Literal["rollout", "namespace"] = "rollout"


def parse_plan(value: object, name: str | None = None) -> PlanSpec:
    """
    Return the plan that a decoded JSON value holds.

    @param name: the name that the plan gets; C{None} keeps its own, which must be valid.
    @raise Unprocessable: C{bad_plan}; C{details} has a JSON pointer for each violation.
    """
    try:
        spec = msgspec.convert(value, PlanSpec)
    except msgspec.ValidationError as error:
        pointer, fault = fault_of(error)
        raise _bad_plan([(pointer, fault)]) from None
    if name is not None:
        spec.name = name
    violations = list(_violations(spec, checks_name=name is None))
    if violations:
        raise _bad_plan(violations)
    return spec


def plan_body(spec: PlanSpec) -> JsonObject:
    """Return the JSON value of a plan, without defaults."""
    body: JsonObject = msgspec.to_builtins(spec)
    return {"name": spec.name, "waves": []} | body


def resolve(spec: PlanSpec, interval: int) -> tuple[RolloutPlan, Sequence[str]]:
    """
    Return the plan that a rollout stores, and warnings for people.

    @param interval: the larger poll interval of base and candidate, in seconds.
    @raise Unprocessable: C{plan_too_hasty}.
    """
    waves = [_resolved(spec, wave, interval, f"/waves/{at}") for at, wave in enumerate(spec.waves)]
    last = _resolved(spec, spec.last, interval, "/last")
    plan = RolloutPlan(spec.name, spec.select, spec.verified, spec.salt, tuple(waves), last)
    least = LEAST_BAKE_INTERVALS * interval
    hasty = [str(number) for number, wave in enumerate([*waves, last], 1) if wave.bake < least]
    warnings = []
    if hasty:
        warnings.append(
            f"The bake of wave {', '.join(hasty)} is shorter than {least} seconds: an agent that the document cuts off"
            " is noticed only after the gate."
        )
    return plan, warnings


def check_name(name: str) -> None:
    """
    Check that a plan can have a name.

    @raise Conflict: C{plan_built_in}.
    """
    if name in BUILT_IN:
        raise Conflict("plan_built_in", f"The plan {name!r} is built in; save the plan under another name.")


def _resolved(spec: PlanSpec, wave: LastSpec, interval: int, where: str) -> Wave:
    def first(name: str, default: T) -> T:
        """Return the setting of the wave, of the plan, or the default."""
        found = (getattr(each, name, None) for each in (wave, spec))
        return next((each for each in found if each is not None), default)

    bake = first("bake", BAKE_INTERVALS * interval)
    least = bake + BETWEEN_INTERVALS * interval
    patience = first("patience", 0)
    if 0 < patience < least:
        raise Unprocessable(
            "plan_too_hasty",
            f"A patience of {patience} seconds is shorter than the bake and {BETWEEN_INTERVALS} poll intervals; give"
            f" at least {least} seconds.",
            [{"pointer": f"{where}/patience", "message": f"at least {least} are needed"}],
        )
    is_last = not isinstance(wave, WaveSpec)
    return Wave(
        first("quorum", 100),
        bake,
        patience or bake + max(LEAST_PATIENCE_SECONDS, PATIENCE_INTERVALS * interval),
        first("max_failures", 0),
        first("on_failure", "abort"),
        "pause" if is_last else first("on_stall", "pause"),
        False if is_last else first("hold", False),
        getattr(wave, "count", None),
        getattr(wave, "percent", None),
        getattr(wave, "select", ""),
        tuple(dict.fromkeys(first("checks", []))),
        0 if is_last else first("parallel", 0),
    )


def _violations(spec: PlanSpec, checks_name: bool) -> Iterator[tuple[str, str]]:
    if checks_name and _NAME.fullmatch(spec.name) is None:
        yield "/name", "a name has 1 to 63 of a-z, 0-9 and '-', and begins with a letter or digit"
    if checks_name and spec.name in (DIRECT, ABORT):
        yield "/name", f"{spec.name} is reserved"
    yield from _selector("/select", spec.select)
    percents: dict[str, int] = {}
    for at, wave in enumerate(spec.waves):
        where = f"/waves/{at}"
        if (wave.count is None) == (wave.percent is None):
            yield where, "give either count or percent"
        yield from _selector(f"{where}/select", wave.select)
        if wave.percent is not None:
            if wave.percent < percents.get(wave.select, 0):
                yield f"{where}/percent", "percent is lower than in an earlier wave with the same select"
            percents[wave.select] = wave.percent


def _selector(where: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        parse_selector(text)
    except Malformed as error:
        yield where, error.message


def _bad_plan(violations: Sequence[tuple[str, str]]) -> Unprocessable:
    pointer, fault = violations[0]
    details = [{"pointer": pointer, "message": fault} for pointer, fault in violations]
    return Unprocessable("bad_plan", f"The plan is invalid at {pointer or 'its top'}: {fault}.", details)


_LAST: Mapping[str, object] = {"max_failures": "2%", "on_failure": "pause"}

#: The plans of this release, by name.
BUILT_IN: Mapping[str, PlanSpec] = {
    name: parse_plan({"name": name, "waves": waves, "last": _LAST})
    for name, waves in {
        "canary": [{"count": 1}],
        "careful": [{"count": 1}, {"percent": 10}, {"percent": 50, "max_failures": "2%"}],
    }.items()
}
