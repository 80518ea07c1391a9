"""Noisy binary networks trained by variational inference, with importance-weighted straight-through gradients."""
