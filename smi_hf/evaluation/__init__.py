"""Measuring: what models see in images, and what it costs them."""
