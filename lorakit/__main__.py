"""`python -m lorakit`."""

from lorakit.cli.main import main

main()
