"""A dataset file's rows as ftd's readers find them, by tests/lib/data/print_rows.cc."""
import json
import os
import pathlib
import subprocess

DRIVER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "print_rows"


def print_rows(path, *columns, timeout=120):
    return subprocess.run([DRIVER, path, *columns], capture_output=True, text=True, timeout=timeout)


def rows_of(path, *columns):
    """[{"row": number, "problem": text or None, "cells": [[name, kind, text], …]}, …]; `columns` keep nested texts."""
    done = print_rows(path, *columns)
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def cells_of(path, *columns):
    """[[(kind, text), …], …], of a file without bad rows."""
    rows = rows_of(path, *columns)
    assert not any(row["problem"] for row in rows), rows
    return [[(kind, text) for _, kind, text in row["cells"]] for row in rows]
