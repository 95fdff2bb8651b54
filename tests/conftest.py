"""SIGTERM ends a test run as Ctrl-C does: fixtures are torn down, so that no daemon or worker outlives the run."""
import signal


def pytest_configure():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
