"""The kinds of alert rules, a file each; `registry` lists them."""
