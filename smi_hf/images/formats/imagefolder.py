"""PNGs in one folder a label, with the lists that `datasets` and RKNN read."""

import json
from typing import TYPE_CHECKING

from smi_hf.data.png import encode_png
from smi_hf.images.formats.base import NHWC, UINT8, FormatInputs, register_format

if TYPE_CHECKING:
    from pathlib import Path

UNLABELED = "unlabeled"


@register_format(
    "imagefolder",
    "images/LABEL/*.png, metadata.jsonl and dataset.txt: datasets, torchvision's ImageFolder, RKNN dataset=",
    kinds=((UINT8, NHWC),),
)
def imagefolder(inputs: FormatInputs, folder: "Path") -> None:
    """A folder is called by the label's number, with zeros in front, so that folders sort as labels do: names of
    labels hold what no file system takes. `metadata.jsonl` says number and name, null of a tile of several labels."""
    width = len(str(len(inputs.label_names) - 1))
    rows, paths = [], []
    for number, image in enumerate(inputs.images):
        label = image.label
        place = UNLABELED if label is None else f"{label:0{width}}"
        paths.append(f"images/{place}/{inputs.file_name(number, '.png')}")
        (folder / "images" / place).mkdir(parents=True, exist_ok=True)
        (folder / paths[-1]).write_bytes(encode_png(image.pixels))
        name = None if label is None else inputs.label_names[label]
        rows.append({"file_name": paths[-1], "label": label, "label_name": name})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "dataset.txt").write_text("".join(path + "\n" for path in paths), encoding="utf-8")
