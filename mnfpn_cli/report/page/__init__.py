"""The page that `mnfpn report` writes: one page with everything in it, which fetches nothing."""
