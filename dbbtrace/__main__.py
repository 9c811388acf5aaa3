"""``python -m dbbtrace``: the command line."""

from dbbtrace.cli import main

main()
