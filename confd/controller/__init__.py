"""The controller: keeps the documents and their history, and answers whoever asks."""
