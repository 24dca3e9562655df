"""One change each; a file's date is its revision, so that the order of the names is the order of the changes."""
