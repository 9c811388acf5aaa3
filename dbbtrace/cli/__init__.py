"""The command line: every command parses and prints, the work is done by functions that Python can call too.

    commands.py   the group, and how every fault becomes one line on stderr
    common.py     what commands share: the warehouse they open, the console they print to
    text.py       values as people read them; hostile text made harmless
    tree.py       a run as a tree with bars

and one module a command group. Each is light at import: what a command needs is imported when it runs.
"""

from dbbtrace.cli.commands import main

__all__ = ["main"]
