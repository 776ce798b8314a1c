import json

import pytest
from typer.testing import CliRunner

from nablatom.cli import app
from nablatom.systems import strained_cells, write_structures


@pytest.fixture
def run():
    """Run a verb; with ``fails`` it must exit with 1 and a message but no traceback."""

    def call(*arguments, fails=False):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == (1 if fails else 0), (result.output, result.exception)
        if fails:
            assert result.stdout == "" or "--json" not in arguments
            assert "Error" in result.stderr
            assert "Traceback" not in result.stderr
            return result.stderr
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return call


@pytest.fixture(scope="session")
def copper(tmp_path_factory):
    """A file with a few labelled structures."""
    path = tmp_path_factory.mktemp("copper") / "copper.extxyz"
    write_structures(path, strained_cells(12, "Cu", seed=5))
    return path


@pytest.fixture(scope="session")
def small():
    """Options of a small descriptor."""
    return ("--cutoff", 4, "--max-radial", 3, "--max-angular", 1)
