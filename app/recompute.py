"""`python -m app.recompute` is `bandshift recompute`."""

import sys

from app.cli import main

if __name__ == "__main__":
    main(["recompute", *sys.argv[1:]])
