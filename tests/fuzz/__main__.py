"""
Measure the cost of untrusted bytes: less than 20 ms of processor time a kilobyte, and no quadratic growth.

Run it with C{make fuzz}. Each input is a beginning, a repeated piece and an end, made of the words of its target. The
least of several measurements counts. A failure prints the seed and the input; C{--seed} repeats it.
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

#: Processor time that a kilobyte may take, in seconds; a shorter input counts as a kilobyte.
PER_KILOBYTE = 0.02

#: Limit of the growth of time for four times the length (4 is linear, 16 is quadratic), and the time in seconds below
#: which growth does not count.
GROWTH, NOTICEABLE = 8, 0.004

_TRIES = 5

#: Pieces to try behind each beginning of a target, before the random pieces.
_REPEATED = (b" ", b",", b'"', b"\\a", b"a", b"1", b"[", b":")


@frozen
class Input:
    """A beginning, a repeated piece, and an end."""

    first: bytes
    piece: bytes
    last: bytes

    @classmethod
    def of(cls, random: Random, target: Target) -> Input:
        """Return a random input of the words of a target."""

        if random.random() < 0.4:
            # Most grammars allow blanks in many places.
            piece = random.choice((b" ", b"\t", random.choice(target.words)))
            return cls(random.choice(target.beginnings), piece, random.choice(target.words))

        def some(least: int, most: int) -> bytes:
            return b"".join(random.choice(target.words) for _ in range(random.randint(least, most)))

        return cls(some(0, 4), some(1, 2), some(0, 2))

    def bytes(self, length: int) -> bytes:
        """Return the input at about this length."""
        count = max(1, (length - len(self.first) - len(self.last)) // len(self.piece))
        return self.first + self.piece * count + self.last


def seconds(target: Target, data: bytes) -> float:
    """Return the processor time of a read in seconds: the least of several, or the first if it is short."""
    least = float("inf")
    for _ in range(_TRIES):
        began = time.process_time()
        target.try_(data)
        least = min(least, time.process_time() - began)
        if least < NOTICEABLE / 2:
            break
    return least


def verdict(target: Target, made: Input) -> tuple[float, str]:
    """Return the seconds a kilobyte, and the problem with them; the problem is empty if they are good."""
    whole = made.bytes(target.most)
    long = seconds(target, whole)
    each = long / max(1.0, len(whole) / 1000)
    if each > PER_KILOBYTE:
        return each, f"{each * 1000:.1f} ms a kilobyte"
    part = made.bytes(target.most // 4)
    # Repeat a bad measurement: other load slows one measurement, and seldom three.
    growth = [long / max(seconds(target, part), 1e-6)]
    while long > NOTICEABLE and growth[-1] > GROWTH and len(growth) < 3:
        growth.append(seconds(target, whole) / max(seconds(target, part), 1e-6))
    if long > NOTICEABLE and min(growth) > GROWTH:
        return each, f"{min(growth):.1f} times as long for four times the length"
    return each, ""


def fuzz(target: Target, random: Random, until: float) -> tuple[int, float, list[str]]:
    """Return the number of inputs, the worst time a kilobyte in seconds, and the problems."""
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

    @raise SystemExit: if the measurement does not detect it.
    """
    blanks = re.compile(rb"[ \t]*(?:a=b)?[ \t]*,")
    if not verdict(Target("quadratic", blanks.match, (b" ",), 8000), Input(b"", b" ", b"x"))[1]:
        raise SystemExit("the measurement does not tell quadratic time from linear time")


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of the random inputs")
    parser.add_argument("--target", default="", help="only the targets with this prefix")
    options = parser.parse_args()
    found = [each for each in targets() if each.name.startswith(options.target)]
    if not found:
        raise SystemExit(f"no target begins with {options.target}")
    print(f"seed {options.seed}")
    # The benchmark measures the parser, not the garbage of earlier targets.
    gc.freeze()
    gc.disable()
    check_measurement()
    failures = []
    for target in found:
        # A target has a random generator of its own, so that it sees the same inputs alone.
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
