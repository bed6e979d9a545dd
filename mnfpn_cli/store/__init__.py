"""Where sweeps keep their runs and what was measured: one SQLite file, or a PostgreSQL server. No torch."""
