"""
Measure what it costs to read the bytes of strangers: less than 20 ms of processor time a kilobyte, and no quadratic
growth.

Run it with C{make fuzz}. Each input is a beginning, a piece that is repeated, and an end, made of the words of its
target. The least of several measurements counts. A failure prints the seed and the input; C{--seed} tries it again.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import time
from random import Random

from attrs import frozen

from tests.fuzz.targets import Target, targets

#: Seconds of processor time that a kilobyte may take; inputs shorter than one count as one.
PER_KILOBYTE = 0.02

#: How much longer an input of four times the length may take (4 is linear, 16 is quadratic), and from how many seconds
#: on that matters.
GROWTH, NOTICEABLE = 8, 0.004

_TRIES = 5

#: What is tried of each target, behind each of its beginnings, before chance has its turn.
_REPEATED = (b" ", b",", b'"', b"\\a", b"a", b"1", b"[", b":")


@frozen
class Input:
    """A beginning, a piece that is repeated, and an end."""

    first: bytes
    piece: bytes
    last: bytes

    @classmethod
    def of(cls, random: Random, target: Target) -> Input:
        """Make one of the words of a target."""

        if random.random() < 0.4:
            # Most grammars let blanks come anywhere, and have more than one place to put them.
            piece = random.choice((b" ", b"\t", random.choice(target.words)))
            return cls(random.choice(target.beginnings), piece, random.choice(target.words))

        def some(least: int, most: int) -> bytes:
            return b"".join(random.choice(target.words) for _ in range(random.randint(least, most)))

        return cls(some(0, 4), some(1, 2), some(0, 2))

    def bytes(self, length: int) -> bytes:
        """It, about so long."""
        count = max(1, (length - len(self.first) - len(self.last)) // len(self.piece))
        return self.first + self.piece * count + self.last


def seconds(target: Target, data: bytes) -> float:
    """Processor time that reading takes: the least of several times, and of one where that is little."""
    least = float("inf")
    for _ in range(_TRIES):
        began = time.process_time()
        target.try_(data)
        least = min(least, time.process_time() - began)
        if least < NOTICEABLE / 2:
            break
    return least


def verdict(target: Target, made: Input) -> tuple[float, str]:
    """What a kilobyte took, in seconds, and what is wrong with that; empty where nothing is."""
    whole = made.bytes(target.most)
    long = seconds(target, whole)
    each = long / max(1.0, len(whole) / 1000)
    if each > PER_KILOBYTE:
        return each, f"{each * 1000:.1f} ms a kilobyte"
    part = made.bytes(target.most // 4)
    # Again where it looks bad: what else runs on the machine slows one measurement, and seldom three.
    growth = [long / max(seconds(target, part), 1e-6)]
    while long > NOTICEABLE and growth[-1] > GROWTH and len(growth) < 3:
        growth.append(seconds(target, whole) / max(seconds(target, part), 1e-6))
    if long > NOTICEABLE and min(growth) > GROWTH:
        return each, f"{min(growth):.1f} times as long for four times the length"
    return each, ""


def fuzz(target: Target, random: Random, until: float) -> tuple[int, float, list[str]]:
    """How many inputs were tried, what the worst took a kilobyte, and what was wrong."""
    count, worst, wrong = 0, 0.0, []
    inputs = [Input(first, piece, b'"x') for first in target.beginnings for piece in _REPEATED]
    while (time.monotonic() < until or inputs) and len(wrong) < 3:
        count += 1
        made = inputs.pop() if inputs else Input.of(random, target)
        try:
            each, said = verdict(target, made)
        except Exception as error:
            each, said = 0.0, f"raises {type(error).__name__}: {str(error)[:100]}"
        worst = max(worst, each)
        if said:
            wrong.append(f"{target.name}: {said}: {made}")
    return count, worst, wrong


def check_measurement() -> None:
    """
    Measure a parser that takes quadratic time.

    @raise SystemExit: nobody would notice it.
    """
    blanks = re.compile(rb"[ \t]*(?:a=b)?[ \t]*,")
    if not verdict(Target("quadratic", blanks.match, (b" ",), 8000), Input(b"", b" ", b"x"))[1]:
        raise SystemExit("what is measured does not tell quadratic time from linear time")


def main() -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="where all chance comes from")
    parser.add_argument("--target", default="", help="only those whose name begins so")
    options = parser.parse_args()
    found = [each for each in targets() if each.name.startswith(options.target)]
    if not found:
        raise SystemExit(f"no target begins with {options.target}")
    print(f"seed {options.seed}")
    # What is measured is the parser, not the garbage of the others.
    gc.freeze()
    gc.disable()
    check_measurement()
    failures = []
    for target in found:
        # Each has chances of its own, so that one target alone sees the same inputs.
        random = Random(f"{options.seed} {target.name}")
        count, worst, wrong = fuzz(target, random, time.monotonic() + options.seconds / len(found))
        gc.collect()
        print(f"{target.name:48} {count:6} inputs, {worst * 1000:6.2f} ms a kilobyte at worst")
        failures += wrong
    for each in failures:
        print(f"FAILED (seed {options.seed}) {each}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
