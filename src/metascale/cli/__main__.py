"""`python -m metascale.cli`."""

from metascale.cli.app import main

main()
