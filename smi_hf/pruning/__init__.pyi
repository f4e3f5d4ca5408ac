from .config import PruningConfig
from .depth import choose_layers
from .run import prune, prune_model
from .width import prune_mlps

__all__ = ["PruningConfig", "choose_layers", "prune", "prune_mlps", "prune_model"]
