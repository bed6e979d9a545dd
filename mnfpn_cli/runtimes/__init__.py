"""The runtimes, which execute networks: one module each, loaded by name, with the interface of `runtime.Runtime`."""
