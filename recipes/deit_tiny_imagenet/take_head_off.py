"""Takes the classification head off a ViT: what is left is a backbone, and the head's rows are directions beside it.

    python recipes/deit_tiny_imagenet/take_head_off.py --model_name_or_path path/to/deit-tiny --output_dir out/backbone

So a backbone can be judged by labels: its embedding of a photograph is compared with the row of each label, as the
zero-shot classifier of CLIP compares it with a text. Only the angle counts, neither lengths nor the head's biases.
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from smi_hf.models import EmbeddingHead, load_teacher
from smi_hf.models.embeddings import Reading
from smi_hf.models.references import ZERO_SHOT


@dataclass
class Arguments:
    """Which classifier, and where its parts go."""

    model_name_or_path: str = field(metadata={"help": "A ViT or DeiT with one head: Hub id or folder."})
    output_dir: Path = field(metadata={"help": "Folder of the backbone, its image processor and its embedding head."})


def main() -> None:
    """Reads the command line and writes the folder."""
    (arguments,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    teacher = load_teacher(arguments.model_name_or_path)
    classifier = teacher.model.model
    classifier.base_model.save_pretrained(arguments.output_dir)
    teacher.image_processor.save_pretrained(arguments.output_dir)
    # The head reads the CLS token.
    reading = Reading("last_hidden_state", "first")
    head = EmbeddingHead(classifier.classifier.weight, teacher.label_names, reading, kind=ZERO_SHOT)
    head.save(arguments.output_dir)
    print(
        f"{arguments.output_dir}: a {type(classifier.base_model).__name__} with {len(head.names)} directions beside it"
    )


if __name__ == "__main__":
    main()
