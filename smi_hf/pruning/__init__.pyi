from .config import PruningConfig
from .run import prune, prune_model
from .width import prune_mlps

__all__ = ["PruningConfig", "prune", "prune_mlps", "prune_model"]
