"""
Fuzzers of the parsers that read untrusted bytes: no undeclared exception, and bounded cost.

C{make test} looks for exceptions; C{make fuzz} also measures the cost.
"""
