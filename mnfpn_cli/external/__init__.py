"""External networks, which others wrote: name, import, build, copy and contain them."""
