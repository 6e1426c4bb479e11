"""``python -m matgraft`` is the command line."""

from matgraft.cli import main

main()
