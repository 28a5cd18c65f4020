"""The controller: keeps the documents and their history, and serves agents and administrators."""
