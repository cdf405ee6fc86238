"""The command line: one module per command, each parses, calls and prints.

A command is a function, or a `typer.Typer` with sub-commands; the table in `birefnet.cli.main` says where each lives,
and its module is imported only when the command is called. Errors derived from `BiRefNetError` are left to `main`,
which prints them as `error:` and `hint:` lines and chooses the exit code.
"""
