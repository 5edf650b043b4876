"""`python -m server` is `dgx-pixels`."""

from server.cli import main

main()
