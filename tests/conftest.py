"""The same random examples in every run: no change fails for another's bad luck."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

# What compiles the largest loops goes first: two workers that came to them at once would both
# compile them. Then what takes longest: neither worker waits for it in the end.
FIRST = {"test_thorough.py": -2, "test_notebooks.py": -1}


def pytest_collection_modifyitems(config, items):
    """Failures that are expected come without their traceback: it takes longer than the test."""
    items.sort(key=lambda item: FIRST.get(item.path.name, 0))
    if not (config.option.runxfail or config.option.xfail_tb):
        for item in items:
            if item.get_closest_marker("xfail"):
                item.repr_failure = lambda excinfo: str(excinfo.value)
