"""Lives of the command in processes of their own, forked from one that has loaded torch."""

import multiprocessing
import os
import signal
import time

import pytest

from chaos.faults import life


@pytest.fixture(scope="module")
def context():
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["torch", "polars", "sklearn.datasets", "matplotlib", "agscl.cli.run"])
    return made


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """What the last life said on stderr."""
    return tmp_path_factory.mktemp("errors") / "stderr.txt"


@pytest.fixture(scope="module")
def alive(context, errors):
    """Start a life, perhaps send it a signal when it is time; returns its exit code, negative if a signal ended it."""

    def start(*given, until=None, number=signal.SIGKILL):
        process = context.Process(target=life, args=(str(errors), *given))
        process.start()
        while until is not None and process.is_alive() and not until():
            time.sleep(0.005)
        if until is not None and process.is_alive():
            os.kill(process.pid, number)
        process.join(300)
        return process.exitcode

    return start
