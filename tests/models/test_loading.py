"""Looking checkpoints up, and never running what they bring along."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from smi_hf import UsageError, load_teacher
from smi_hf.models import load_classifier
from smi_hf.models.classification import label_names_of
from smi_hf.models.loading import find_checkpoint, load_config
from smi_hf.models.preprocessing import load_image_processor


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def copy(tiny_checkpoint, tmp_path) -> Path:
    """A copy of the tiny checkpoint, to be changed."""
    import shutil

    return shutil.copytree(tiny_checkpoint, tmp_path / "vit")


# A checkpoint's own Python

_TRAP = "from pathlib import Path\nPath({mark!r}).write_text('ran')\n"
_AUTO_MAP = {
    "config.json": {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModelForImageClassification": "mine.MyModel"},
    },
    "preprocessor_config.json": {
        "image_processor_type": "Mine",
        "auto_map": {"AutoImageProcessor": "mine.MyProcessor"},
    },
}


@pytest.mark.parametrize("file", sorted(_AUTO_MAP))
def test_a_checkpoints_own_python_is_not_run_although_standard_input_says_y(copy, tmp_path, file):
    """transformers asks on a terminal, and takes `y` from whatever is piped in."""
    mark = tmp_path / "ran"
    classes = "class MyConfig: pass\nclass MyModel: pass\nclass MyProcessor: pass\n"
    (copy / "mine.py").write_text(_TRAP.format(mark=str(mark)) + classes)
    edit_json(copy / file, **_AUTO_MAP[file])
    script = (
        "import sys\nfrom smi_hf import UsageError\nfrom smi_hf.models import load_classifier, load_teacher\n"
        "for load in (load_teacher, load_classifier):\n"
        "    try:\n        load(sys.argv[1])\n    except UsageError as error:\n        print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(copy)], input="y\n" * 20, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert not mark.exists()
    refusals = run.stdout.splitlines()
    assert len(refusals) == 2
    for refusal in refusals:
        assert "can only be loaded by running Python code that it brings along, which smi_hf never does" in refusal


@pytest.mark.parametrize("load", [load_config, load_image_processor, load_classifier, load_teacher])
def test_code_beside_a_model_that_transformers_knows_is_left_alone(copy, tmp_path, load):
    mark = tmp_path / "ran"
    (copy / "mine.py").write_text(_TRAP.format(mark=str(mark)) + "class MyConfig: pass\n")
    edit_json(copy / "config.json", auto_map={"AutoConfig": "mine.MyConfig"})
    load(str(copy))
    assert not mark.exists()


def test_every_from_pretrained_of_the_library_says_that_remote_code_is_not_run(repository):
    """A call that does not say so asks on standard input."""
    import ast

    for path in (repository / "smi_hf" / "models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                arguments = ast.unparse(node)
                assert "trust_remote_code=False" in arguments or "source.options" in arguments, f"{path}: {arguments}"


# Looking up


def test_a_folder_is_found_with_its_files(copy):
    source = find_checkpoint(str(copy))
    assert set(source.file_names) == {path.name for path in copy.iterdir()}
    assert source.options == {"revision": None, "trust_remote_code": False, "local_files_only": False}


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(copy, monkeypatch, name):
    monkeypatch.chdir(copy)
    with pytest.raises(UsageError, match="the name of the model is empty; give a Hub id or a folder"):
        load_teacher(name)


@pytest.mark.parametrize("name", ["a b/c", "[", "x" * 300, "me/" + "x" * 300, "a\0b", "::", "me/vit:main"])
def test_what_can_be_no_name_is_refused(name):
    with pytest.raises(UsageError, match=r"is neither a folder here nor a repository on the Hub|could not be fetched"):
        load_teacher(name)


@pytest.mark.parametrize("name", ["my_vti", "me/my_vti"])
def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, name):
    """A loopback port that nobody listens on: transformers would try for half a minute, and show every attempt."""
    script = (
        "import time\nimport smi_hf.models.loading\nfrom smi_hf import UsageError, load_teacher\n"
        "started = time.perf_counter()\n"
        f"try:\n    load_teacher({name!r})\n"
        "except UsageError as error:\n    print(time.perf_counter() - started, error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    seconds, _, message = run.stdout.partition(" ")
    assert f"model {name!r} could not be fetched: it is not in the local cache" in message
    assert float(seconds) < 10
    assert "Retry" not in run.stderr


# Configurations


@pytest.mark.parametrize("revision", [None, "main", "commit"])
def test_a_configuration_from_the_hub_knows_its_commit(hub, tiny_checkpoint, revision):
    api = HfApi()
    api.create_repo("me/vit")
    api.upload_folder(repo_id="me/vit", folder_path=tiny_checkpoint)
    commit = api.model_info("me/vit").sha
    revision = commit if revision == "commit" else revision
    assert load_config("me/vit", revision=revision)._commit_hash == commit
    assert load_config(str(tiny_checkpoint))._commit_hash is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {"0": "cat", "2": "dog", "3": "owl"},
            "names labels 0, 2, 3, but a model of 3 labels has 0 to 2; mend",
        ),
        ({"1": "cat", "2": "dog"}, "names labels 1, 2, but a model of 2 labels has 0 to 1"),
        ({str(2 * label): "x" for label in range(12)}, "names labels 0, 2, 4, 6, 8, 10, 12, 14, ..., but a model of"),
    ],
)
def test_gaps_in_the_names_of_labels_are_refused(copy, names, message):
    edit_json(copy / "config.json", id2label=names, label2id={name: int(number) for number, name in names.items()})
    with pytest.raises(UsageError, match=message):
        label_names_of(load_config(str(copy)))


@pytest.mark.parametrize(
    "changes",
    [
        {"id2label": {"cat": 0}},
        {"id2label": ["cat", "dog"]},
        {"id2label": 5},
        {"hidden_size": "many"},
        {"image_size": None},
        {"patch_size": "x"},
        {"num_attention_heads": 0},
        {"model_type": None},
        {"hidden_act": "nonesuch"},
    ],
)
@pytest.mark.parametrize("load", [load_teacher, load_classifier])
def test_a_configuration_of_wrong_values_is_one_sentence(copy, changes, load):
    edit_json(copy / "config.json", **changes)
    with pytest.raises(UsageError) as caught:
        load(str(copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "null", "1", '"text"'])
def test_json_that_is_no_configuration_is_one_sentence(copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(UsageError):
        load_teacher(str(copy))


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification", "something else"])
@pytest.mark.parametrize("load", [load_teacher, load_classifier])
def test_a_model_that_does_not_choose_one_label_is_refused(copy, problem, load):
    edit_json(copy / "config.json", problem_type=problem)
    with pytest.raises(UsageError, match=r"problem_type|describes no model"):
        load(str(copy))


@pytest.mark.parametrize("load", [load_teacher, load_classifier])
def test_a_model_that_says_that_it_chooses_one_label_is_taken(copy, load):
    edit_json(copy / "config.json", problem_type="single_label_classification")
    assert load(str(copy)).label_names[0] == "LABEL_0"
