"""The policy: the one language here. `read` makes a `Policy` of a file; the rest of the program reads only that."""
