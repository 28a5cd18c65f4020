"""
Fuzzers of whatever reads the bytes of strangers: no exception that is not declared, and bounded cost.

C{make test} looks for exceptions; C{make fuzz} measures, too, which no test does.
"""
