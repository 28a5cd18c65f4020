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

#: How much longer an input of twice the length may take, and from how many seconds on that is looked at.
GROWTH, NOTICEABLE = 3.2, 0.004

_TRIES = 5


@frozen
class Input:
    """A beginning, a piece that is repeated, and an end."""

    first: bytes
    piece: bytes
    last: bytes

    @classmethod
    def of(cls, random: Random, words: tuple[bytes, ...]) -> Input:
        """Make one of the words of a target."""

        def some(least: int, most: int) -> bytes:
            return b"".join(random.choice(words) for _ in range(random.randint(least, most)))

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
    if long > NOTICEABLE:
        half = made.bytes(target.most // 2)
        growth = long / max(seconds(target, half), 1e-6)
        if growth > GROWTH * len(whole) / (2 * len(half)):
            return each, f"{growth:.1f} times as long for twice the length"
    return each, ""


def fuzz(target: Target, random: Random, until: float) -> tuple[int, float, list[str]]:
    """How many inputs were tried, what the worst took a kilobyte, and what was wrong."""
    count, worst, wrong = 0, 0.0, []
    while (time.monotonic() < until or count < 3) and len(wrong) < 3:
        count += 1
        made = Input.of(random, target.words)
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
    if not verdict(Target("quadratic", blanks.match, (b" ",), 4000), Input(b"", b" ", b"x"))[1]:
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
