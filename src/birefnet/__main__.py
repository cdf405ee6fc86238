"""`python -m birefnet` is `birefnet`."""

from birefnet.cli.main import main

if __name__ == "__main__":
    main()
