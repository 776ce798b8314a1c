import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

VERBS = ("demo", "compute", "fit", "eval", "forces", "show", "convert")
HEAVY = ("torch", "ase", "scipy", "pydantic", "matplotlib", "vesin", "yaml")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_and_json(run, verb):
    text = run(verb, "--help")
    assert "Example:" in text
    assert f"nablatom {verb}" in text
    assert "--json" in text


@pytest.mark.parametrize("verb", ["demo", "compute", "fit"])
def test_help_tells_what_is_taken_if_nothing_is_given(run, verb):
    from nablatom.cli.hypers import Hypers

    text = " ".join(run(verb, "--help").replace("│", " ").split()).split("─ Descriptor ─")[1]
    for name, setting in Hypers.model_fields.items():
        option = text.split(f"--{name.replace('_', '-')} ")[1].split(" --")[0]
        assert f"{setting.default}" in option
        assert "if not given" in option


def test_help_lists_all_verbs_and_no_arguments_is_help(run):
    text = run("--help")
    assert all(verb in text for verb in VERBS)


def test_version(run):
    try:
        expected = version("nablatom")
    except PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert run("--version") == f"nablatom {expected}\n"


def test_help_is_light_and_quick():
    """Below 0.3 s on an idle machine; processor time has no part of what else is running."""
    code = (
        "import sys; from nablatom.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.strip() == "[]", done.stderr
    assert "demo" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


def test_module_runs_as_the_program():
    command = [sys.executable, "-m", "nablatom", "show", "nowhere.mts"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nowhere.mts" in done.stderr
    assert "Traceback" not in done.stderr


def test_traceback_on_demand():
    command = [sys.executable, "-m", "nablatom", "--traceback", "show", "nowhere.mts"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
