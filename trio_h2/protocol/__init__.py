"""HTTP/2 as pure state: no I/O, no trio. May be read, tested and fuzzed alone."""
