"""Quantization-aware training: what a student rounds while it learns, and where its weights start."""
