import json

import pytest

from nablatom.cli import terminal as module
from nablatom.cli.terminal import Terminal, errors_table, number, size

NUMBERS = {
    0.0: "0.00",
    1.0: "1.00",
    0.4567: "0.457",
    28.04: "28.0",
    136.4: "136",
    9.999: "10.0",
    -3.14159: "-3.14",
    12345.6: "12,300",
    1e-7: "1.00e-07",
    2.5e9: "2.50e+09",
}


@pytest.mark.parametrize(("value", "shown"), NUMBERS.items())
def test_numbers_have_three_significant_digits(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(("count", "shown"), [(12, "12.0 B"), (73_400_000, "73.4 MB")])
def test_sizes_have_a_unit(count, shown):
    assert size(count) == shown


def test_json_is_all_there_is_on_stdout(capsys):
    terminal = Terminal(as_json=True)
    terminal.title("title", "subtitle")
    terminal.step(1, "step")
    terminal.note("note")
    terminal.file("a", "file")
    assert list(terminal.track([1, 2], name="work")) == [1, 2]
    terminal.result({"energy": 1.5, "Å": [1]})
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"energy": 1.5, "Å": [1]}
    assert shown.err == ""


def test_without_json_the_payload_is_not_printed(capsys):
    terminal = Terminal(as_json=False)
    terminal.say("shown")
    terminal.result({"hidden": 1})
    out = capsys.readouterr().out
    assert "shown" in out
    assert "hidden" not in out


@pytest.mark.parametrize(("patience", "drawn"), [(0.0, True), (60.0, False)])
def test_progress_bar_comes_after_some_time_and_on_stderr(monkeypatch, capsys, patience, drawn):
    monkeypatch.setattr(module, "PATIENCE", patience)
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal = Terminal(as_json=False)
    assert list(terminal.track([1, 2, 3], name="work")) == [1, 2, 3]
    shown = capsys.readouterr()
    assert ("work" in shown.err) is drawn
    assert shown.out == ""


def test_table_of_errors_names_units_and_parts(capsys):
    row = {"unit": "meV/Å", "mae": 20.04, "rmse": 28.06, "count": 3}
    terminal = Terminal(as_json=False)
    terminal.say(errors_table({"train": {"forces": row}, "test": {"forces": row}}))
    out = capsys.readouterr().out
    for word in ("forces", "meV/Å", "train MAE", "test RMSE", "20.0", "28.1"):
        assert word in out
