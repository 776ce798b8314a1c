"""``python -m nablatom``: the command line."""

from nablatom.cli import main

if __name__ == "__main__":
    main()
