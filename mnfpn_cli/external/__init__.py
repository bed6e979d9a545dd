"""External networks, which others wrote: name, import, build and contain them."""
