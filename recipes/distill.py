"""`smi-hf distill` as a script, for `accelerate launch` with any number of processes:

accelerate launch recipes/distill.py --config recipes/demo/distill.yaml
"""

import sys

from smi_hf.cli.distill import run
from smi_hf.cli.main import answer_errors

if __name__ == "__main__":
    sys.exit(answer_errors(run))
