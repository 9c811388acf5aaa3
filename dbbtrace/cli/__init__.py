"""The command line. Commands only parse arguments and print. The work is done by functions that Python can call too.

    commands.py   the command group; turns every error into one line on stderr
    common.py     what commands share: opening the warehouse, the console
    completion.py what the shell completes
    text.py       text laid out for a terminal
    tree.py       a run as a tree with bars

There is one module for each group of commands. Each imports what a command needs only when that command runs.
"""

from dbbtrace.cli.commands import main

__all__ = ["main"]
