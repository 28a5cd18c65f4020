"""Functions of a cursor, one module a table or subject."""
