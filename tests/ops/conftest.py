import pytest


@pytest.fixture(params=["compiled", "portable"])
def engine(request, monkeypatch):
    """Run a test with the compiled functions, and with what stands in where they cannot be."""
    from deepsphere import ops

    if request.param == "portable":
        monkeypatch.setattr(ops._native, "available", lambda *_: False)
    return request.param
