from html.parser import HTMLParser
from unittest.mock import Mock

import pytest

from deepsphere.demo.report import write_report

METRICS = {
    "test_accuracy": 0.92,
    "baseline_accuracy": 0.84,
    "variance_accuracy": 0.58,
    "test_maps": 50,
    "train_seconds": 187.2,
    "build_seconds": 3.21,
    "parameters": 13462,
    "seed": 0,
    "nside": 64,
    "signal_to_noise": float("inf"),
    "lognormal": False,
    "backend": "torch",
    "sky_fraction": 0.123456,
    "versions": {"keras": "3.15.0"},
}
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Check that tags are closed in order, and collect the visible text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.cells, self.headings = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag in ("script", "link"):
            self.links.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)

    def value(self, name):
        return self.cells[self.cells.index(name) + 1]


@pytest.fixture
def picture(tmp_path):
    (tmp_path / "map.png").write_bytes(b"a picture")
    return ("map.png", "A map", "What it shows.")


def test_page_holds_figures_pictures_and_how_to_load(tmp_path, picture):
    path = write_report(tmp_path, METRICS, [picture])
    assert path == tmp_path / "index.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.images == [{"src": "map.png", "alt": "A map", "loading": "lazy"}]
    assert page.links == []  # nothing is fetched from elsewhere
    assert "http" not in text
    assert "What it shows." in text
    assert page.headings[0] == "Telling two universes apart"
    assert "keras.models.load_model(&#39;model.keras&#39;)" in text
    assert page.value("Training time") == "3 min 07 s"
    assert page.value("Time to build the network") == "3.2 s"
    assert page.value("Trainable parameters") == "13\N{NARROW NO-BREAK SPACE}462"
    assert page.value("Seed") == "0"
    assert page.value("Resolution (nside)") == "64"
    assert page.value("Signal to noise (ratio of powers)") == "infinite"
    assert page.value("Log-normal maps") == "no"
    assert page.value("Keras backend") == "torch"
    assert page.value("Sky fraction") == "0.1235"
    assert page.value("keras") == "3.15.0"


def test_accuracies_are_compared_with_their_uncertainty(tmp_path):
    text = write_report(tmp_path, METRICS, []).read_text(encoding="utf-8")
    page = Page(text)
    assert (
        "classifies 92.0% of the test maps correctly, 8.0 points more than the better baseline"
        in text
    )
    at = page.cells.index("DeepSphere network")
    # Wilson's 95 % interval of 46 in 50 by his formula,
    # (p + z²/2n ± z √(pq/n + z²/4n²)) / (1 + z²/n) with z = 1.96: 0.812 to 0.968.
    assert page.cells[at + 2] == "92.0% (81 to 97%)"
    assert page.cells[page.cells.index("Linear SVM on the variance") + 2].startswith("58.0%")
    plain = write_report(tmp_path, METRICS | {"test_maps": None}, []).read_text(encoding="utf-8")
    assert "confidence" not in plain


@pytest.mark.parametrize(
    ("accuracy", "says"),
    [(0.80, "4.0 points less than"), (0.84, "the same as"), (0.9, "6.0 points more than")],
)
def test_headline_is_honest(tmp_path, accuracy, says):
    page = write_report(tmp_path, METRICS | {"test_accuracy": accuracy}, [])
    assert says in page.read_text(encoding="utf-8")


def test_little_is_needed(tmp_path):
    page = Page(write_report(tmp_path / "new" / "folder", {}, []).read_text(encoding="utf-8"))
    assert page.headings == ["Telling two universes apart", "Use the trained network"]
    text = write_report(tmp_path, {"baseline_accuracy": 0.5}, []).read_text(encoding="utf-8")
    assert "was not measured" in text


def test_everything_is_escaped(tmp_path):
    evil = "<script>alert('x')</script>&\""
    (tmp_path / "a&b.png").touch()
    metrics = {"backend": evil, evil: evil, "versions": {evil: evil}}
    path = write_report(
        tmp_path,
        metrics,
        [("a&b.png", evil, evil)],
        title=evil,
        introduction=evil,
        model_file=evil,
    )
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text.lower()
    page = Page(text)
    assert page.images[0]["src"] == "a&b.png"
    assert page.images[0]["alt"] == evil
    assert page.value("Keras backend") == evil


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "https://x.org/a.png", "b\\a.png"])
def test_pictures_lie_beside_the_page(tmp_path, name):
    with pytest.raises(ValueError, match="relative to the page's directory"):
        write_report(tmp_path, {}, [(name, "", "")])


def test_missing_pictures_and_impossible_accuracies_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no picture 'a\.png'"):
        write_report(tmp_path, {}, [("a.png", "", "")])
    with pytest.raises(ValueError, match=r"test_accuracy must be a fraction from 0 to 1, got 92"):
        write_report(tmp_path, {"test_accuracy": 92}, [])
    with pytest.raises(ValueError, match="baseline_accuracy"):
        write_report(tmp_path, {"baseline_accuracy": float("nan")}, [])
    assert not (tmp_path / "index.html").exists()


def test_a_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_report(tmp_path, {"seed": 1}, [])
    before = path.read_text(encoding="utf-8")

    monkeypatch.setattr("pathlib.Path.replace", Mock(side_effect=OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(tmp_path, {"seed": 2}, [])
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    write_report(tmp_path, {"seed": 2}, [])
    assert path.read_text(encoding="utf-8") != before
