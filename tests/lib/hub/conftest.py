import pytest
from hub_fixture import Hub


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def home(tmp_path):
    """An HF_HOME of the test's own, not there yet."""
    return tmp_path / "hf"
