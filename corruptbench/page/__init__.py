"""One page a reader opens without a network: the tables of suites, and the figures drawn from their rows."""
