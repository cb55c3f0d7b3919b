from vlcal.cli import main

main()
