"""The programs under test use memory as they do at a user's: what CMakeLists.txt asks of malloc is for Python alone."""
import os

for name in [name for name in os.environ if name.startswith("MALLOC_")]:
    del os.environ[name]
