import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from smi_hf.data.report_file import REPORT_FILE, is_report
from smi_hf.errors import UsageError
from smi_hf.reports import page
from smi_hf.reports.page import add_report, write_report

EVIL = '</script><b id="evil">&"\'<img src=x onerror=alert(1)>'


def test_a_report_is_one_file_that_names_no_other(folder, model_folder, tmp_path, parse):
    path = write_report([folder, model_folder], tmp_path / "both.html")
    text = path.read_text()
    opened = parse(text)
    sources = [value for _, attributes in opened.elements for name, value in attributes.items() if name in ("src",)]
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not opened.all("link")
    assert all(each["href"].startswith("#") for each in opened.all("a"))
    assert "default-src 'none'" in text.split("</head>")[0]
    assert "connect-src" not in text.split("</head>")[0]


def test_every_picture_has_words_in_its_place(folder, tmp_path, parse):
    images = parse(write_report([folder]).read_text()).all("img")
    assert len(images) >= 6 and all(image["alt"] for image in images)


def test_a_report_lies_in_the_folder_of_a_single_result_and_here_of_several(
    folder, model_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert write_report([folder]) == folder / REPORT_FILE
    assert write_report([folder, model_folder]).absolute() == tmp_path / REPORT_FILE
    assert write_report([tmp_path], "all.html").read_text().count("<article") == 2


def test_names_of_others_are_text_and_no_markup(folder, model_folder, tmp_path, parse):
    record = json.loads((folder / "smi.json").read_text())
    record["label_names"] = [f"{EVIL}{number}" for number in range(5)]
    record["teacher"]["name"] = EVIL
    record["settings"]["start"] = EVIL
    (folder / "smi.json").write_text(json.dumps(record))
    results = json.loads((model_folder / "results.json").read_text())
    results["rows"][2]["label"] = EVIL
    results["measured"]["dataset"] = EVIL
    (model_folder / "results.json").write_text(json.dumps(results))
    subjects = [page.Subject.of(model_folder)]
    opened = parse(page.render(subjects))
    assert not opened.all("b") and not any("onerror" in each for each in opened.all("img"))
    assert EVIL in opened.text
    # The rows' types name the labels, too: a record that was changed is no longer that of its rows.
    with pytest.raises(UsageError, match="label"):
        write_report([folder])


def test_a_label_that_closes_a_script_does_not(folder, parse):
    subject = page.Subject.of(folder)
    record = replace(subject.record, label_names=[f"{EVIL}{number}" for number in range(5)])
    opened = parse(page.render([replace(subject, record=record)]))
    assert not any(each.get("id") == "evil" for each in opened.all("b"))
    assert any(each["alt"].startswith(f"Image 0, label {EVIL}") for each in opened.all("img"))


def test_only_the_scripts_of_the_page_itself_may_run(model_folder):
    text = write_report([model_folder]).read_text()
    policy = re.search(r'content="(default-src[^"]*)"', text)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "script-src 'sha256" in policy and "'unsafe-inline'" not in policy.split("script-src")[1]


def test_what_is_no_report_is_never_replaced(folder, tmp_path):
    (folder / REPORT_FILE).write_text("mine")
    with pytest.raises(UsageError, match="is no report of smi_hf, and stays as it is"):
        write_report([folder])
    assert (folder / REPORT_FILE).read_text() == "mine"
    other = tmp_path / "other.html"
    write_report([folder], other)
    (tmp_path / "link.html").symlink_to(other)
    with pytest.raises(UsageError, match="stays as it is"):
        write_report([folder], tmp_path / "link.html")


def test_a_report_replaces_a_report(folder):
    first = write_report([folder]).read_text()
    (folder / REPORT_FILE).write_text(first + "<!-- old -->")
    assert "<!-- old -->" not in write_report([folder]).read_text()


def test_a_report_that_cannot_be_made_is_a_warning(folder, caplog):
    next((folder / "data").iterdir()).write_bytes(b"no parquet")
    add_report(folder)
    assert "no report was written" in caplog.text and "smi-hf report makes it later" in caplog.text
    assert [path.name for path in folder.iterdir() if "report" in path.name] == []


def test_any_error_of_a_report_is_a_warning(folder, caplog, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("of a chart")

    monkeypatch.setattr(page, "render", fail)
    add_report(folder)
    assert "of a chart" in caplog.text


def test_a_report_that_is_there_stays_if_it_need_not_be_new(folder):
    add_report(folder)
    path = folder / REPORT_FILE
    path.write_text(path.read_text() + "<!-- old -->")
    add_report(folder, renew=False)
    assert "<!-- old -->" in path.read_text()
    add_report(folder)
    assert "<!-- old -->" not in path.read_text() and is_report(path)


def test_a_folder_that_is_not_there_is_named(tmp_path, folder):
    with pytest.raises(UsageError, match="there is no folder"):
        write_report([folder], tmp_path / "missing" / "report.html")
    with pytest.raises(UsageError, match="give at least one folder"):
        write_report([])


def test_the_page_opens_draws_and_filters(folder, model_folder, chain_record, save_model, tmp_path, browse):
    chain = save_model(chain_record, tmp_path / "chain")
    path = write_report([folder, model_folder, chain], tmp_path / "page.html")
    script = """
        const form = document.querySelector(".gallery form");
        const first = document.querySelector(".tiles li").dataset.label;
        const choose = (name, value) => {
          form.elements[name].value = value;
          form.dispatchEvent(new Event("input"));
        };
        choose("sort", "falling");
        const falling = [...document.querySelectorAll(".tiles li")].map((tile) => Number(tile.dataset.probability));
        choose("label", first);
        const shown = [...document.querySelectorAll(".tiles li:not([hidden])")].map((tile) => tile.dataset.label);
        const slide = document.querySelector(".slide input");
        slide.value = "0";
        slide.dispatchEvent(new Event("input"));
        const stage = document.querySelector(".slide output").textContent;
        const said = form.querySelector("output").textContent;
        document.title = JSON.stringify({first, falling, shown, stage, said});
        setTimeout(() => {
          const charts = document.querySelectorAll("figure.chart").length;
          const drawn = document.querySelectorAll("figure.chart .plot svg").length;
          document.body.dataset.charts = `${charts} ${drawn} ${document.querySelectorAll(".choices select").length}`;
        }, 4000);
    """
    document, console = browse(path, script)
    assert console == []
    found = json.loads(re.search(r"<title>(.*?)</title>", document)[1].replace("&amp;", "&"))
    assert found["falling"] == sorted(found["falling"], reverse=True) and len(found["falling"]) == 6
    assert found["shown"] and set(found["shown"]) == {found["first"]}
    assert found["said"] == f"{len(found['shown'])} of 6 images"
    assert found["stage"].startswith("at the start: ")
    charts, drawn, choices = map(int, re.search(r'data-charts="([\d ]+)"', document)[1].split())
    assert charts == drawn >= 5
    assert choices >= 3
