"""`python -m attnpo` is the command line."""

from attnpo.cli.main import main

if __name__ == "__main__":
    main()
