"""
Databases as earlier releases left them, as SQL text: C{schema-2.sql} is one whose last step was the second.

Steps that were never released alone have none. L{tests.controller.store.historic.freeze} makes the next one.
"""
