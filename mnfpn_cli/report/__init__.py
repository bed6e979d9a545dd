"""Results in, tables and JSON out. Units are picked and numbers rounded here, and nowhere before."""
