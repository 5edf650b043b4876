"""`python -m server` is `dgx-pixels`."""

from server.cli.app import main

main()
