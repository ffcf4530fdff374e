"""A headless Chromium, driven through its debugging pipe: pages, keys, media, screenshots."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from contextlib import contextmanager

PATH = shutil.which("chromium")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Browser:
    """One page; what goes wrong on it is collected in `errors`."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._number, self._rest = commands, answers, 0, b""
        self._loaded, self._session, self.errors = False, {}, []
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def open(self, path, *, width=1200, dark=False, script=True, media="screen"):
        """Load a file at a width, and wait for it."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._ask("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self._ask("Emulation.setScriptExecutionDisabled", {"value": not script})
        self._loaded = False
        self._ask("Page.navigate", {"url": path.as_uri()})
        while not self._loaded:
            self._read()

    def value(self, expression):
        """What a JavaScript expression gives."""
        answer = self._ask("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key})

    def pdf(self):
        """The page on paper."""
        return b64decode(self._ask("Page.printToPDF", {"printBackground": True})["data"])

    def picture(self):
        """The whole page as a PNG."""
        return b64decode(self._ask("Page.captureScreenshot", {"captureBeyondViewport": True})["data"])

    def _ask(self, method, params=None):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            found = os.read(self._answers, 1 << 20)
            assert found, "the browser has gone"
            self._rest += found
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        self._note(message)
        return message

    def _note(self, message):
        method, params = message.get("method"), message.get("params", {})
        self._loaded = self._loaded or method == "Page.loadEventFired"
        wrong = method in ("Runtime.exceptionThrown", "Network.loadingFailed", "Runtime.consoleAPICalled")
        if wrong or (method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")):
            self.errors.append(params)


PIPES = """
import fcntl, os, sys
for wanted, given in ((3, int(sys.argv[1])), (4, int(sys.argv[2]))):
    os.dup2(fcntl.fcntl(given, fcntl.F_DUPFD, 20), wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and answers on 4."""


@contextmanager
def chromium(profile):
    """A browser with its profile in a folder, for as long as the context lasts."""
    (commands_out, commands_in), (answers_out, answers_in) = os.pipe(), os.pipe()
    start = [sys.executable, "-c", PIPES, str(commands_out), str(answers_in)]
    process = subprocess.Popen(
        [*start, PATH, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(commands_out, answers_in),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Browser(commands_in, answers_out)
    finally:
        os.close(commands_in)
        os.close(answers_out)
        process.terminate()
        process.wait()
