"""Formats that images are exported in, for quantizers that read files. One file per format."""
