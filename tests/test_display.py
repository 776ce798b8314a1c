from html.parser import HTMLParser

import numpy as np
import pytest

from maps import flat, tensor
from nablatom import Labels, TensorBlock, TensorMap
from nablatom.display import label_table, shortened


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (3, -1, [0, 1, 2]),
        (3, 3, [0, 1, 2]),
        (5, 4, [0, 1, None, 3, 4]),
        (5, 3, [0, 1, None, 4]),
        (5, 2, [0, None, 4]),
        (5, 1, [0, None]),
        (0, 4, []),
    ],
)
def test_shortened(count, most, expected):
    assert shortened(count, most) == expected


def test_columns_stand_below_their_names():
    table = label_table(["system", "n"], [[0, -100], None, [12345678, 3]], indent=2)
    lines = table.split("\n  ")
    assert [line.split() for line in lines] == [
        ["system", "n"],
        ["0", "-100"],
        ["..."],
        ["12345678", "3"],
    ]
    assert lines[1].index("-100") == lines[0].index("n") - 1
    assert not any(line.endswith(" ") for line in lines)


def test_str_is_short_and_repr_is_not():
    labels = Labels.range("a", 30)
    assert len(str(labels).splitlines()) == 1 + 1 + 5 + 1
    assert "..." not in repr(labels)


def test_empty_things_can_be_shown():
    nothing = TensorMap(Labels.empty("key"), [])
    for thing in (Labels.empty(["a", "b"]), nothing, TensorMap(Labels.single(), [flat()])):
        assert str(thing)
        assert repr(thing)
        assert thing._repr_html_()
    assert nothing.print(-1).split() == ["TensorMap", "with", "0", "blocks", "keys:", "key"]


def test_large_maps_are_shortened():
    block = flat()
    many = TensorMap(Labels.range("key", 1000), [block] * 1000)
    assert len(str(many).splitlines()) < 50
    assert len(many.print(-1).splitlines()) == 1002
    assert many._repr_html_().count("<details") < 1000


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not the last one opened."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_html_is_well_formed_and_says_what_is_there(library):
    a = tensor(library=library, components=1, nested=True)
    parser = Balanced()
    parser.feed(a._repr_html_())
    assert parser.open == []
    for words in ("4 blocks", "center_type=8", "o3_mu", "float64", "positions", "strain", "%"):
        assert words in parser.text


def test_the_balance_of_tags_can_be_lost():
    with pytest.raises(AssertionError):
        Balanced().feed("<b><i></b></i>")


def test_a_block_shows_its_axes():
    axes = [Labels.range("xyz", 3), Labels.range("m", 2)]
    block = TensorBlock(np.zeros((1, 3, 2, 0)), Labels.single(), axes, Labels.empty(["n", "l"]))
    assert repr(block).splitlines() == [
        "TensorBlock",
        "    samples (1): ['_']",
        "    components (3, 2): ['xyz', 'm']",
        "    properties (0): ['n', 'l']",
        "    gradients: None",
    ]
