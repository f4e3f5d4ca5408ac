"""What `smi-hf invert` does, as a script for `accelerate launch`.

accelerate launch recipes/invert.py --config recipes/deit_tiny_imagenet/invert.yaml
accelerate launch --config_file recipes/accelerate/multi_gpu.yaml recipes/invert.py --config ...
"""

import sys

from smi_hf.cli.invert import run
from smi_hf.cli.main import answer_errors

if __name__ == "__main__":
    sys.exit(answer_errors(run))
