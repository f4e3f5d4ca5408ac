"""What a notebook shows of a sparse dataset."""

import base64
import io
import re

import numpy as np
from PIL import Image

from smi_hf import load_sparse_dataset
from smi_hf.data import display


def pictures_of(html: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))
        for png in re.findall('src="data:image/png;base64,([^"]+)"', html)
    ]


def test_facts_and_the_first_images_are_shown_as_they_are(dataset):
    html = dataset._repr_html_()
    shown = pictures_of(html)
    assert len(shown) == len(dataset) == 6
    for picture, row in zip(shown, dataset.dataset):
        assert np.array_equal(picture, np.asarray(row["image"]))
        assert f'alt="{dataset.record.label_names[row["label"]]}"' in html
    assert dataset.record.teacher.name in html and "images in use" not in html
    assert dataset.record._repr_html_().count("<img") == 0


def test_of_a_part_it_says_that_it_is_one(dataset):
    html = dataset.first(2)._repr_html_()
    assert len(pictures_of(html)) == 2 and "the first 2" in html


def test_a_streamed_dataset_is_not_read(sparse_folder, monkeypatch):
    streamed = load_sparse_dataset(sparse_folder, streaming=True)
    monkeypatch.setattr(type(streamed.dataset), "__iter__", lambda self: 1 / 0)
    html = streamed._repr_html_()
    assert "<img" not in html and "patches kept" in html


def test_however_large_images_are_there_are_at_most_200_kb_of_them(dataset, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 448, 448), dtype=np.uint8)

    def decoded(self, numbers):
        import torch

        return {"pixel_values": torch.from_numpy(np.repeat(noise, len(numbers), axis=0))}

    monkeypatch.setattr(type(dataset), "decoded", decoded)
    html = display.dataset_html(dataset)
    shown = pictures_of(html)
    assert len(html.encode()) < 200_000 and 3 <= len(shown) < 6
    assert shown[0].shape == (112, 112, 3)
