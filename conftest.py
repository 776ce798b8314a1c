"""Examples in docstrings and in the documentation run in an empty directory of their own."""

import pytest


@pytest.fixture(autouse=True)
def _empty_directory(request):
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
