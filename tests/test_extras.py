import sys

import pytest

from deepsphere._extras import require


def test_module_that_is_there():
    assert require("json.decoder", "plot") is sys.modules["json.decoder"]


def test_missing_module_names_its_extra(monkeypatch):
    for name in ("healpy", "surely_not_installed.part"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"install 'deepsphere-keras\[shapes\]'"):
        require("surely_not_installed.part", "shapes")
    with pytest.raises(ImportError, match=r"healpy is not installed.*\[healpy\]"):
        require("healpy", "healpy")


def test_error_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import surely_not_installed")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        require("needs_more", "plot")
