"""A tokenizer, and Hugging Face's caches in a folder of the test's own."""
import os
import tempfile

_cache = tempfile.TemporaryDirectory(prefix="ftd-hf-")
os.environ["HF_HOME"] = _cache.name
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import pytest  # noqa: E402
from tiny_model import make_tiny_llama  # noqa: E402


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("model") / "model")
