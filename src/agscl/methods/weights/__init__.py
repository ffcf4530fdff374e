"""Methods that pull every weight to where earlier tasks left it."""
