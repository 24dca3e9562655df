"""`python -m app` is `bandshift`."""

from app.cli import main

if __name__ == "__main__":
    main()
