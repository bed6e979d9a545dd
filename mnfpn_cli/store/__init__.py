"""Where sweeps keep their cells and what was measured: one SQLite file, or a PostgreSQL server. No torch."""
