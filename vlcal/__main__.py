"""`python -m vlcal`: the command line without its script on the path."""

from vlcal.cli import main

main()
