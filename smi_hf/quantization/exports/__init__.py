"""A teacher as a graph in floating point for other runtimes, one file a converter."""
