from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine; nothing is written into the project.
settings.register_profile(
    "same everywhere", deadline=None, derandomize=True, database=None, max_examples=30
)
settings.load_profile("same everywhere")


@pytest.fixture
def data():
    """Data sets that stand beside the project, for those who have them."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("no ../shared/data")
    return path
