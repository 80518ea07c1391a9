"""Trained networks for other software and for chips."""

from sk_epsnn.export._nir import to_nir
from sk_epsnn.export._onnx import register_onnx_converters

__all__ = ["register_onnx_converters", "to_nir"]
