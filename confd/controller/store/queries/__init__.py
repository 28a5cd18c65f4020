"""Functions of a cursor, one module a table or subject; see L{confd.controller.store.cursor} for their SQL."""
