"""What executes a network: one module each, found by its name; `mnfpn_cli.runtimes.runtime` says what it must have."""
