"""Multi-sample online learning of probabilistic spiking networks, a trainer."""
