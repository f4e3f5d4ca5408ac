"""The files of a Space: Python that runs without smi_hf, requirements as pip reads them, YAML as the Hub wants it."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import SpaceCard, metadata_load
from packaging.requirements import Requirement
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from smi_hf import QuantizationConfig, load_sparse_dataset, push, quantize
from smi_hf.data.record import DatasetRecord
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import ModelRecord
from smi_hf.hub.kinds import space_files
from smi_hf.hub.spaces.pages import render_app, render_requirements, render_space_card
from smi_hf.hub.spaces.record import Shown, SpaceRecord, describe_space
from smi_hf.quantization.loading import load_predictor

SPACE = SpaceRecord(
    title="tiny-vit, taught without data",
    sentences=("Top-1 85.0 %.",),
    model=Shown("me/student"),
    loader="transformers",
    dataset=Shown("me/set", "v2"),
    packages={"datasets": "5.0.1", "torch": "2.13.0+cpu", "transformers": "4.57.6", "accelerate": None},
    python="3.12.1",
)
# A page of which nothing is shown: it notes what is built, and calls what the page calls when a user acts.
GRADIO = """
import contextlib
built = []
class Part:
    def __init__(self, name, given, options):
        self.name, self.given, self.options, self.actions = name, given, options, []
        built.append(self)
    def change(self, function, inputs=None, outputs=None):
        self.actions.append(function)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *given, **options: Part(name, given, options)
"""
# Runs an app beside the picture `picture.png`, and prints what it answers as JSON.
RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app
from PIL import Image
answer = {"model": None, "images": None}
if hasattr(app, "answer"):
    picture = Image.open(sys.argv[1] + "/picture.png")
    answer["model"], answer["nothing"] = app.answer(picture), app.answer(None)
if hasattr(app, "shown"):
    answer["choices"] = app.choices()
    answer["images"] = [[image.size, words] for image, words in app.shown(app.ALL_LABELS, 1)]
    answer["far"] = len(app.shown(app.ALL_LABELS, 99))
    answer["of a label"] = [words for _, words in app.shown(answer["choices"][1], 1)]
assert not {"smi_hf", "gradio"} & set(sys.modules)
import gradio
app.make_page()
answer["page"] = [part.name for part in gradio.built]
answer["actions"] = [len(part.actions) for part in gradio.built if part.actions]
print(json.dumps(answer))
"""


@pytest.fixture
def run_app(hub, tmp_path):
    """Writes a Space and runs its app against the Hub on loopback; returns what it answers."""

    def run(record: SpaceRecord) -> dict:
        folder = tmp_path / "space"
        folder.mkdir()
        for name, file in space_files(record).items():
            (folder / name).write_bytes(file.path_or_fileobj)
        picture().save(folder / "picture.png")
        (folder / "gradio.py").write_text(GRADIO)
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(folder)], env=hub.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def picture() -> Image.Image:
    """Of another size and another mode than the model takes."""
    return Image.radial_gradient("L").resize((50, 40))


def test_a_models_app_answers_as_the_model_does_and_shows_its_images(hub, model_folder, folder, run_app):
    push(model_folder, "me/student")
    push(folder, "me/set")
    answer = run_app(describe_space(ModelRecord.load(model_folder), "me/student", space_dataset="me/set"))
    model = AutoModelForImageClassification.from_pretrained(model_folder)
    inputs = AutoImageProcessor.from_pretrained(model_folder)(picture().convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits[0].softmax(-1)
    best = [model.config.id2label[number] for number in expected.argsort(descending=True).tolist()]
    assert list(answer["model"]) == best and len(best) == 5
    assert list(answer["model"].values()) == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-5)
    assert answer["nothing"] == {}
    rows = load_sparse_dataset(folder).dataset
    assert len(answer["images"]) == answer["far"] == len(rows) == 6
    names = rows.features["label"].names
    assert [size for size, _ in answer["images"]] == [[32, 32]] * 6
    assert [words.split(",")[0] for _, words in answer["images"]] == [names[label] for label in rows["label"]]
    assert answer["choices"] == ["all labels", *sorted({names[label] for label in rows["label"]})]
    chosen = [words for _, words in answer["images"] if words.startswith(answer["choices"][1] + ",")]
    assert answer["of a label"] == chosen and chosen
    assert {"Blocks", "Image", "Label", "Gallery", "Dropdown"} <= set(answer["page"])


def test_a_datasets_app_shows_images_alone_where_the_teacher_is_not_on_the_hub(hub, folder, run_app):
    push(folder, "me/set")
    answer = run_app(describe_space(DatasetRecord.load(folder), "me/set"))
    assert len(answer["images"]) == 6 and answer["model"] is None
    assert "Gallery" in answer["page"] and "Label" not in answer["page"]


@pytest.mark.skipif(bool(missing_packages("onnx")), reason="the onnx extra is absent")
def test_an_int8_models_app_answers_as_its_back_end_does(hub, teacher, sparse_folder, run_app, tmp_path):
    config = QuantizationConfig(output_dir=str(tmp_path / "int8"), disable_tqdm=True)
    quantize(teacher, load_sparse_dataset(sparse_folder), config)
    push(tmp_path / "int8", "me/int8")
    answer = run_app(describe_space(ModelRecord.load(tmp_path / "int8"), "me/int8"))
    predictor = load_predictor(str(tmp_path / "int8"))
    expected = torch.as_tensor(predictor(predictor.preprocess([picture().convert("RGB")])))[0].softmax(-1)
    assert list(answer["model"].values()) == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-4)
    assert next(iter(answer["model"])) == predictor.label_names[int(expected.argmax())]
    assert answer["images"] is None and "Gallery" not in answer["page"]


def test_labels_that_share_a_name_are_told_apart():
    space: dict = {}
    functions = [node for node in ast.parse(render_app(SPACE)).body if getattr(node, "name", "") == "names_of_labels"]
    exec(compile(ast.Module(functions, []), "app", "exec"), space)
    assert space["names_of_labels"]({0: "crane", 1: "dog", 2: "crane"}) == {0: "crane (0)", 1: "dog", 2: "crane (2)"}


@pytest.mark.parametrize("change", [{}, {"dataset": None}, {"model": None, "loader": None}])
def test_an_app_is_python_in_the_house_style_whatever_it_shows(change, tmp_path):
    (tmp_path / "app.py").write_text(render_app(replace(SPACE, **change)))
    rules = ["--isolated", "--line-length=119", "--select=E,F,W,B,UP"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path / "app.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"\{\{|\{%|\n\n\n\n", (tmp_path / "app.py").read_text())


def test_what_comes_from_others_is_text_in_the_app_and_on_the_card(tmp_path):
    name = 'x"""\n---\nimport os; os.system("ls")\n# [evil](http://evil.example) **evil** <b> \'\\'
    evil = replace(SPACE, title=name, sentences=(name, name), packages={"torch": "1; evil", "datasets": name})
    plain = {type(node).__name__ for node in ast.walk(ast.parse(render_app(SPACE)))}
    tree = ast.parse(render_app(evil))
    assert {type(node).__name__ for node in ast.walk(tree)} == plain
    assert len(tree.body) == len(ast.parse(render_app(SPACE)).body)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "system"]
    introduction = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "INTRODUCTION")
    assert all(r"\[evil\]" in text.value for text in introduction.elts[:-1])
    assert render_requirements(evil) == "torch\ndatasets\n"
    card = render_space_card(evil)
    card.save(tmp_path / "README.md")
    assert metadata_load(tmp_path / "README.md")["sdk"] == "gradio"
    assert r"\[evil\](" in card.text and "](http://evil" not in card.text.replace(r"\[evil\](http://evil", "")


def test_requirements_are_pinned_to_what_the_public_index_has():
    assert render_requirements(SPACE) == "datasets==5.0.1\ntorch==2.13.0\ntransformers==4.57.6\naccelerate\n"
    assert [Requirement(line).name for line in render_requirements(SPACE).splitlines()] == list(SPACE.packages)


@pytest.mark.parametrize(("version", "gradio"), [("4.57.6", 5), ("5.23.0", 6), ("5.0rc1", 6), (None, 6), ("odd", 6)])
def test_the_card_is_valid_metadata_for_the_hub(version, gradio, tmp_path):
    card = render_space_card(replace(SPACE, packages={"transformers": version}))
    card.save(tmp_path / "README.md")
    metadata = metadata_load(tmp_path / "README.md")
    assert isinstance(card, SpaceCard) and metadata == card.data.to_dict()
    assert (metadata["sdk"], metadata["app_file"], metadata["python_version"]) == ("gradio", "app.py", "3.12")
    # transformers 4 and gradio 6 need different versions of huggingface_hub.
    assert int(metadata["sdk_version"].split(".")[0]) == gradio
    assert (metadata["models"], metadata["datasets"]) == (["me/student"], ["me/set"])
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {metadata["colorFrom"], metadata["colorTo"]} <= colors and len(metadata["short_description"]) <= 60
    assert f"pip install gradio=={metadata['sdk_version']} -r requirements.txt" in card.text
    assert Path(metadata["app_file"]).suffix == ".py"


def test_a_python_that_is_not_known_is_the_first_that_smi_hf_runs_on():
    assert render_space_card(replace(SPACE, python=None)).data.python_version == "3.11"
