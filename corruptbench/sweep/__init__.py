"""A suite's runs, chosen, estimated and done: on this machine, or on a Ray cluster."""
