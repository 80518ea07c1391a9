"""Expectation Propagation: a trainer of dense and other layered networks."""
