"""Write the HTML page of `mnfpn report`: one file, which loads no other."""
