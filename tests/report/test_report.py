"""The page: self-contained, complete from the run folder alone, safe, and open about what is missing."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from spermjax.errors import SpermjaxError
from spermjax.report import build_report
from spermjax.report.curves import panels
from spermjax.report.gallery import cases
from spermjax.report.load import load
from spermjax.report.tables import tables
from tests.report.conftest import ATTRIBUTES, CLASSES, METHODS, dump, make_run

VOID = {"meta", "link", "img", "br", "hr", "input", "path", "use"}


class Page(HTMLParser):
    """Text, addresses and ids of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.words, self.addresses, self.ids, self.tags, self._open = [], [], [], [], []
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(run):
    return Page(build_report(run).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def single_page(single_run):
    return page_of(single_run)


@pytest.fixture(scope="module")
def attribute_page(attribute_run):
    return page_of(attribute_run)


def test_nothing_is_fetched_and_no_script_runs(single_page, attribute_page):
    for page in (single_page, attribute_page):
        assert all(address.startswith(("data:", "#")) for address in page.addresses)
        assert "script" not in page.tags
        assert len(page.ids) == len(set(page.ids))


def test_every_number_of_the_evaluation_is_on_the_page(single_run, single_page):
    scores = json.loads((single_run / "evaluation/validation.json").read_text())
    for estimates in (scores["overall"], *scores["per_name"].values()):
        for estimate in estimates.values():
            assert f"{estimate['value']:.3f}" in single_page.text
            assert f"{estimate['low']:.3f} to {estimate['high']:.3f}" in single_page.text
    for row in scores["confusion"]["label"]:
        assert " ".join(map(str, row)) in single_page.text


def test_data_configuration_and_environment_are_shown(single_page):
    for said in (
        "5d41402abc4b2a76b9719d911017c592",
        "official split",
        "learning_rate 0.001",
        "jax 0.10.2",
        "Checkpoint of step 640.",
    ):
        assert said in single_page.text, said


def test_the_verdict_compares_the_best_method_with_the_best_baseline(single_page, attribute_page):
    assert re.search(
        r"On 240 validation cells the model names the right class for [\d.]+\s% \(95\s% interval", single_page.text
    )
    assert "raw attention explains best" in single_page.text
    assert "above the best baseline, centre Gaussian" in single_page.text
    assert "mean ROC AUC" in attribute_page.text
    assert "not measured against part masks" in attribute_page.text


def test_missing_masks_are_said_in_words(single_page, attribute_page):
    assert "no part masks" in attribute_page.text and "no part masks" not in single_page.text


def test_a_run_that_only_just_began_has_a_page(tmp_path):
    dump(tmp_path / "config.json", {"name": "new", "seed": 0})
    page = page_of(tmp_path)
    for said in ("not been evaluated yet", "No explanations yet", "Nothing was logged yet", "says nothing of its data"):
        assert said in page.text


def test_names_from_data_can_not_become_markup(tmp_path):
    evil = "<script>alert(1)</script> $x_"
    run = make_run(tmp_path / "run", CLASSES, examples=4)
    for name in ("data.json", "evaluation/validation.json", "config.json"):
        text = (run / name).read_text()
        (run / name).write_text(text.replace("tail_defect", evil).replace("phantom_quickstart", evil))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps({"step": 700, "epoch": 21, f"validation/auroc/{evil}": 0.5, "validation/auroc/b": 0.4}) + "\n"
        )
    written = build_report(run).read_text()
    assert "<script" not in written
    assert html.escape("<script>alert(1)</script>") in written
    Page(written)


def test_the_same_run_gives_the_same_page(attribute_run):
    assert build_report(attribute_run).read_bytes() == build_report(attribute_run).read_bytes()


def test_errors_name_the_folder_and_the_file(tmp_path):
    with pytest.raises(SpermjaxError, match=r"is not a run folder: it has no config\.json"):
        build_report(tmp_path)
    run = make_run(tmp_path / "run", CLASSES, examples=2)
    (run / "data.json").write_text('{"name": ')
    with pytest.raises(SpermjaxError, match=r"data\.json can't be read as JSON"):
        build_report(run)
    shutil.copy(run / "config.json", run / "data.json")
    (run / "explanations/validation/examples.npz").write_bytes(b"PK\x03\x04torn")
    with pytest.raises(SpermjaxError, match=r"examples\.npz can't be read"):
        build_report(run)


def test_pickled_arrays_are_refused(tmp_path):
    run = make_run(tmp_path / "run", CLASSES, examples=2)
    np.savez(run / "explanations/validation/examples.npz", image=np.array([{}], dtype=object))
    with pytest.raises(SpermjaxError, match=r"examples\.npz can't be read: Object arrays"):
        build_report(run)


def test_cases_are_sorted_into_wrong_and_right(single_run, attribute_run):
    for run, task in ((single_run, CLASSES), (attribute_run, ATTRIBUTES)):
        explained = load(run).explanations["validation"]
        wrong, right = cases(explained, task, each=100)
        assert len(wrong) + len(right) == 12
        assert all(case.truth != case.answer for case in wrong)
        assert all(case.truth == case.answer for case in right)
        sureness = [abs(case.probability - 0.5) for case in wrong]
        assert sureness == sorted(sureness, reverse=True)
        assert [title for title, _ in right[0].tiles][1:] == list(METHODS)
    kinds = {case.answer for case in cases(load(single_run).explanations["validation"], CLASSES, each=4)[1]}
    assert len(kinds) == 4


def test_tables_set_baselines_apart_and_mark_what_does_not_beat_them(single_run):
    explained = load(single_run).explanations["validation"]
    main, regions, attention = tables(explained, {"centre_gaussian", "uniform"})
    assert (main.methods, main.baselines) == (list(METHODS), ["centre_gaussian", "uniform"])
    assert regions.columns == ["nucleus"] and attention.columns == ["entropy"]
    mass = {name: main.cells[name]["relevance_mass"]["mark"] for name in main.methods}
    assert mass == {"raw_attention": "best", "rollout": "", "grad_cam": "", "integrated_gradients": ""}
    assert {main.cells[name]["deletion"]["mark"] for name in METHODS} == {"weak"}
    assert {main.cells[name]["gini"]["mark"] for name in METHODS} == {""}


def test_curves_gather_what_belongs_together(attribute_run):
    first, rest = panels(load(attribute_run).metrics)
    assert first["Loss"] == ["train/loss", "validation/log_loss"]
    assert first["Validation: auroc"] == [f"validation/auroc/{name}" for name in ATTRIBUTES.names]
    assert first["Explanations: relevance_mass"] == [
        f"interpret/{m}/relevance_mass" for m in ("raw_attention", "rollout")
    ]
    assert set(rest) == {"Explanations: region_mass nucleus", "Explanations: entropy"}


@pytest.mark.slow
def test_a_browser_opens_it_without_an_error(single_run, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    page = build_report(single_run).resolve().as_uri()
    out = subprocess.run(
        [browser, *flags, f"--user-data-dir={tmp_path}", "--enable-logging=stderr", "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Phantom quickstart" in re.sub(r"\s+", " ", out.stdout) or "phantom quickstart" in out.stdout
    assert "CONSOLE" not in out.stderr
