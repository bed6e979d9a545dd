"""Networks that others wrote: named on the command line, imported, and kept from breaking anything but themselves."""
