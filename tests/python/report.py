"""The report of a sweep in a real browser: made from a real sweep and from a simulation, opened
headless without a network, in both themes and on paper.

Needs chromium and chromedriver; the arguments are the program and, to look at, a folder for
screenshots:
    cargo build --release && python3 tests/python/report.py target/release/pinpool
"""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PROGRAM = sys.argv[1]
PICTURES = sys.argv[2] if len(sys.argv) > 2 else None
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-device-scale-factor=1",
]


class Browser:
    """A session of chromedriver, whose protocol is JSON over HTTP on this machine."""

    def __init__(self, driver, profile):
        line = driver.stdout.readline()
        while line and "successfully on port" not in line:
            line = driver.stdout.readline()
        port = re.search(r"on port (\d+)", line)[1]
        self.base = f"http://127.0.0.1:{port}"
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "perfLoggingPrefs": {"enableNetwork": True}}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def run(self, script, *args):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def devtools(self, command, **params):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, path):
        # What the browser's own first page asked for is not ours.
        self.call("POST", "/url", {"url": "about:blank"})
        self.asked_for()
        self.call("POST", "/url", {"url": f"file://{path}"})
        deadline = time.monotonic() + 30
        while not self.run("return !!(window.report && (report.done || report.errors.length))"):
            assert time.monotonic() < deadline, "the page was not drawn within 30 s"
            time.sleep(0.05)

    def width(self, pixels, height=900):
        self.devtools("Emulation.setDeviceMetricsOverride", width=pixels, height=height,
                      deviceScaleFactor=1, mobile=False)

    def theme(self, scheme, media=""):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", media=media, features=features)
        time.sleep(0.3)

    def picture(self, name):
        if PICTURES:
            shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
            with open(os.path.join(PICTURES, f"{name}.png"), "wb") as file:
                file.write(base64.b64decode(shot["data"]))

    def errors(self):
        logged = [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})]
        return self.run("return report.errors") + logged

    def asked_for(self):
        """What the page asked any network or file for, since this was last asked, itself apart."""
        entries = [json.loads(e["message"])["message"] for e in self.call("POST", "/se/log", {"type": "performance"})]
        urls = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not (url.startswith("file:") and url.endswith(".html"))]


@contextlib.contextmanager
def browser(folder):
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        session = Browser(driver, os.path.join(folder, "profile"))
        yield session
        session.call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(30)


def pinpool(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (args, done)
    return done.stdout


def data_of(path):
    """The page's data, and what its head allows it."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none';"), policy
    assert not re.search(r"script-src[^;]*unsafe", policy), policy
    assert not re.search(r'(src|href)\s*=\s*["\']', page.split("<script", 1)[0]), "something is loaded by its address"
    return json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])


INKED = """
const canvas = document.querySelector(`[data-plot="${arguments[0]}"] canvas`);
// A copy is read: reading the page's own canvas would change how it is drawn.
const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
copy.drawImage(canvas, 0, 0);
const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
const wanted = getComputedStyle(document.documentElement).getPropertyValue(arguments[1]).trim();
const [r, g, b] = [1, 3, 5].map((at) => parseInt(wanted.slice(at, at + 2), 16));
let count = 0;
for (let at = 0; at < data.length; at += 4)
  count += data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] === 255;
return count;
"""


def plots_have_their_data(page, data):
    """The number of marks, cells and spans of each plot is that of the JSON, and lines have ink."""
    lines = data["scaling"]
    if len(lines) > 6:
        lines = [line for line in lines if line["chunk"] == lines[0]["chunk"]][:6]
    steps = sum(len(line["steps"]) for line in lines)
    plots = page.run("return report.plots")
    of = lambda name: [plot["points"] for plot in plots if plot["id"] == name]
    assert of("speedup") == [steps] and of("efficiency") == [steps], (steps, plots)
    assert sum(of("heat")) == len(data["points"])
    assert page.run("return document.querySelectorAll('rect.cell').length") == len(data["points"])
    assert page.run("return document.querySelectorAll('rect.best').length") == 1
    assert of("timeline") == [sum(len(line["spans"]) for line in t["lines"]) for t in data["timelines"]]
    inked = ["speedup", "efficiency"]
    if data["traffic"]:
        roofs = len({roof["workers"] for roof in data["roofs"] if roof["bind"] == lines[0]["bind"]})
        assert of("bandwidth") == [steps + 2 * roofs], (of("bandwidth"), steps, roofs)
        inked.append("bandwidth")
    for name in inked:
        for at in range(len(lines)):
            assert page.run(INKED, name, f"--s{at}") > 12, (name, at, "no ink of this line's colour")
    fits = sum("fit" in lines[0][law] for law in ["amdahl", "universal"])
    labels = page.run("return [...document.querySelectorAll('[data-plot=speedup] .u-legend th')].map(e => e.textContent)")
    assert len(labels) == 1 + 1 + len(lines) + fits, labels
    tables = page.run("return [...document.querySelectorAll('table.data')].map(t => t.tBodies[0].rows.length)")
    assert len(tables) >= 3 and min(tables) > 0 and len(data["points"]) in tables, tables


def looks_right(page, data, name):
    for scheme in ["light", "dark"]:
        page.theme(scheme)
        assert page.run("return document.documentElement.dataset.theme") == scheme
        for pixels in [1280, 800]:
            page.width(pixels)
            time.sleep(0.3)
            plots_have_their_data(page, data)
            wide = page.run("return document.documentElement.scrollWidth")
            assert wide <= pixels, f"at {pixels} the page is {wide} wide"
            page.picture(f"{name}-{scheme}-{pixels}")
    assert page.run("document.getElementById('theme').click(); return document.documentElement.dataset.theme") == "light"
    page.theme("dark")
    page.theme("dark", media="print")
    assert page.run("return document.documentElement.dataset.theme") == "light", "paper is white"
    plots_have_their_data(page, data)
    assert page.run("return document.documentElement.scrollWidth") <= 800, "paper cuts the page off"
    page.picture(f"{name}-print")
    page.theme("light")
    paper = base64.b64decode(page.call("POST", "/print", {"background": True}))
    assert paper.startswith(b"%PDF") and len(paper) > 20_000, len(paper)
    if PICTURES:
        with open(os.path.join(PICTURES, f"{name}.pdf"), "wb") as file:
            file.write(paper)


def check(page, path, name):
    data = data_of(path)
    page.open(path)
    looks_right(page, data, name)
    errors = page.errors()
    assert errors == [], errors
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    asked = page.asked_for()
    assert asked == [], asked
    print(f"{name}: {len(data['points'])} settings, {os.path.getsize(path) // 1024} KiB")
    return data


def main(folder):
    report = os.path.join(folder, "report.html")
    csv = os.path.join(folder, "sweep.csv")
    swept = ["sweep", "trig-power", "--elements", "200k", "--workers", "1,2", "--chunks", "500,5k,50k",
             "--bind", "close,none", "--oversubscribe", "--repeat", "6"]
    pinpool(*swept, "--csv", csv, "--report", report)
    many = os.path.join(folder, "many.html")
    pinpool("sweep", "count-primes", "--high", "1e7", "--workers", "1,2,3,4,5", "--oversubscribe", "--bind", "none",
            "--repeat", "2", "--report", many)
    simulated = os.path.join(folder, "simulated.html")
    pinpool("sweep", "trig-power", "--elements", "400k", "--chunks", "500,5k", "--bind", "close,scatter",
            "--simulate", "package:2 core:64 pu:2", "--report", simulated)
    with browser(folder) as page:
        data = check(page, report, "sweep")
        assert len(data["points"]) == 12 and data["traffic"]["read_bytes"] == 8 and data["simulated"] is None
        assert data["timelines"] and all(line["pu"] is not None for t in data["timelines"] for line in t["lines"])
        assert "missing" in data["scaling"][0]["amdahl"]
        assert "is not fitted" in page.run("return document.body.innerText")
        command = page.run("return document.getElementById('command').textContent")
        pinpool(*command.split()[1:], "--json")
        check(page, many, "counts")
        data = check(page, simulated, "simulated")
        assert data["simulated"]["topology"] == "package:2 core:64 pu:2"
        assert "fit" in data["scaling"][0]["amdahl"] and "fit" in data["scaling"][0]["universal"]
        assert "Simulated" in page.run("return document.querySelector('.banner').innerText")
        # The page of an earlier sweep's file has the same measurements.
        again = os.path.join(folder, "again.html")
        pinpool(*swept, "--csv", csv, "--resume", "--report", again)
        points = lambda path: [{k: v for k, v in p.items()} for p in data_of(path)["points"]]
        assert points(again) == points(report)


if __name__ == "__main__":
    assert shutil.which("chromedriver"), "install chromium and chromium-driver"
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
    print("the report is well in light, dark and print")
