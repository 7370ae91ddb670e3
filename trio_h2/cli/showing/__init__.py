"""`trio-h2 demo` and `trio-h2 view`: streams as they go on, and recordings of them."""
