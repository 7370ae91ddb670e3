"""`trio-h2 probe` and `trio-h2 ping`: what a server says of itself, and how far away it is."""
