from .halving import halve_mlps

__all__ = ["halve_mlps"]
