#!/usr/bin/env python3
"""
Rewrite the audit log of a SQLite database as a person with root can: change who made an entry, and forge the chain.

Usage: rewrite.py DATABASE NUMBER WHO. For trying out "confdctl audit verify --against" only.
"""

import sqlite3
import sys

from attrs import astuple, evolve, fields

from confd.audit import AuditEntry

path, number, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
names = [each.name for each in fields(AuditEntry)]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
triggers = connection.execute(query).fetchall()
for name, _ in triggers:
    connection.execute(f"DROP TRIGGER {name}")
query = f"SELECT {', '.join(names)} FROM audit WHERE number >= ? ORDER BY number"
previous = None
for entry in [AuditEntry(*row) for row in connection.execute(query, (number,))]:
    forged = evolve(entry, who=who) if previous is None else evolve(entry, previous=previous)
    forged = evolve(forged, hash=forged.digest())
    changes = ", ".join(f"{name} = ?" for name in names)
    connection.execute(f"UPDATE audit SET {changes} WHERE number = ?", (*astuple(forged), forged.number))
    previous = forged.hash
for _, sql in triggers:
    connection.execute(sql)
connection.execute("COMMIT")
