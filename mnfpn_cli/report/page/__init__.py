"""`mnfpn report --output report.html`: one page with everything in it, which fetches nothing."""
