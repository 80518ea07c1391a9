"""Expectation propagation: the messages through a layer, the sites they are kept as, and steps of the posterior."""
