"""Renders the example cards again from the records beside them: python model_cards/render.py"""

from pathlib import Path

from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord
from smi_hf.hub import render_model_card
from smi_hf.hub.cards.dataset import render_card

FOLDER = Path(__file__).parent


def main() -> None:
    """Writes `dataset.md`, `quantized.md` and `distilled.md`."""
    for path in sorted(FOLDER.glob("*.json")):
        text = path.read_text()
        if path.stem == "dataset":
            card = render_card(DatasetRecord.from_json(text, path.name))
        else:
            card = render_model_card(ModelRecord.from_json(text, path.name))
        path.with_suffix(".md").write_text(str(card), encoding="utf-8")


if __name__ == "__main__":
    main()
