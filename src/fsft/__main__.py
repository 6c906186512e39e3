"""`python -m fsft`: the same command line as `fsft`."""

from fsft.cli.app import main

main()
