"""The command line: parse, call one function, render. The only place that prints or chooses an exit code.

A command's module imports only what its signature needs; its body imports what it runs. `mnfpn --help` reads every
signature, and must not wait for pydantic, rich's tables or torch.
"""
