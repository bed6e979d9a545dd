"""Results in, tables, pages and pictures out. Units are picked and numbers rounded here, and nowhere before."""
