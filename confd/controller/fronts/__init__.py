"""
A controller of several processes.

One is the writer, which decides; the others are fronts, which hold connections of clients for it. C{control} is what
the two say to each other. On the side of the writer are C{writer}, C{outpost}, C{ledger}, C{wires} and C{offspring}, on
the side of a front C{front}, C{exchange} and C{relay}.
"""
