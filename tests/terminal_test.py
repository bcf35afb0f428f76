#!/usr/bin/env python3
"""What dd-cpu shows: terminal_test.py DD_CPU

Renders what goes to a pseudo-terminal as a terminal would, and checks that no line is longer than the screen, nothing
of the live line stays, other people's text is not overwritten; that logs are plain lines, --json is one line of JSON,
colours follow the variables, and misspelt names get a suggestion."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

program = os.path.abspath(sys.argv[1])
passed = failed = 0
TINY = ["--preset", "tiny", "--n-layer", "1", "--n-embd", "16", "-t", "1"]
FOREVER = ["--max-iters", "4000000", "--eval-interval", "400", "--eval-iters", "2", "--log-interval", "5"]


def check(what, good, more=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print(f"FAILED {what}: {more}", flush=True)


def wide(c):
    u = ord(c)
    return 0x1100 <= u < 0x1160 or 0x2E80 <= u < 0xA4D0 or 0xAC00 <= u < 0xD7A4 or u > 0xFFFF


class Screen:
    """Characters, CR, LF and the sequences that dd-cpu uses; anything else is noted in `odd`."""

    def __init__(self, columns):
        self.columns, self.rows, self.x, self.y = columns, [""], 0, 0
        self.wrapped, self.odd, self.rest, self.redraws = [], set(), b"", 0

    def put(self, c):
        n = 1 + wide(c)
        if self.x + n > self.columns:
            self.wrapped.append(self.rows[self.y] + c)
            self.newline()
            self.x = 0
        row = self.rows[self.y].ljust(self.x)
        self.rows[self.y] = row[:self.x] + c + "\0" * (n - 1) + row[self.x + n:]
        self.x += n

    def newline(self):
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append("")

    def feed(self, data):
        data = self.rest + data
        cut = len(data)  # an unfinished character or sequence waits for the rest
        match = re.search(rb"(\x1b(\[[0-9;?]*)?|[\xc2-\xf4][\x80-\xbf]{0,2})$", data)
        if match and not re.fullmatch(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}", match.group()):
            cut = match.start()
        self.rest, text = data[cut:], data[:cut].decode("utf-8", "replace")
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.", text, re.S):
            if part == "\r":
                self.x = 0
                self.redraws += 1
            elif part == "\n":
                self.newline()
            elif part.startswith("\x1b["):
                self.control(part[2:-1], part[-1])
            elif ord(part) < 32:
                self.odd.add(repr(part))
            else:
                self.put(part)

    def control(self, number, kind):
        if kind == "K":
            self.rows[self.y] = self.rows[self.y][:self.x]
        elif kind == "J":
            self.rows[self.y:] = [self.rows[self.y][:self.x]]
        elif kind == "A":
            self.y -= int(number or 1)
        elif kind != "m":
            self.odd.add(f"ESC[{number}{kind}")
        if self.y < 0:
            self.odd.add("above the screen")
            self.y = 0

    def text(self):
        return "\n".join(row.replace("\0", "").rstrip() for row in self.rows)


class Show:
    """The program with stderr (and, when both, stdout) on a terminal of that many columns."""

    def __init__(self, columns, *arguments, both=False, env=None):
        master, slave = pty.openpty()
        self.fd, self.screen, self.raw = master, Screen(columns), b""
        self.resize(columns)
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS")}
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, stderr=slave,
                                        stdout=slave if both else subprocess.DEVNULL,
                                        env={**clean, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        os.close(slave)

    def resize(self, columns):
        self.screen.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, enough=lambda s: False, seconds=60):
        """Until enough(self), or the program ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough(self):
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return True
            self.raw += data
            self.screen.feed(data)
        return enough(self)

    def end(self, *signals):
        for number in signals:
            self.process.send_signal(number)
        self.read()
        os.close(self.fd)
        return self.process.wait(60)


def look(what, show, code, *wanted, wrapped=0):
    """After the end: nothing odd, no line too long, nothing left of the live line."""
    s = show.screen
    check(f"{what}: exit code", show.process.returncode == code, show.process.returncode)
    # a single word, such as a path, stays in one piece so that it can be copied, however long it is
    sentences = [line for line in s.wrapped if " " in line.strip()]
    check(f"{what}: lines beyond the width", len(sentences) <= wrapped, sentences[:3])
    check(f"{what}: other control characters", not s.odd, s.odd)
    check(f"{what}: ends at the left", s.x == 0 and not s.rows[s.y], s.rows[-1:])
    check(f"{what}: live line is gone", not re.search(r"ETA|[━─]|\[=*>? *\]", s.text()), s.text()[-300:])
    for text in wanted:
        check(f"{what}: shows {text}", text in s.text(), s.text()[-300:])


def test_train(columns, utf8):
    # what exceeds a line at the end is the reason for the stop, in one piece so that the command in it can be copied
    show = Show(columns, "train", *TINY, *FOREVER, "-o", f"w{columns}", "--overwrite",
                env={} if utf8 else {"LC_ALL": "C"})
    check(f"train at {columns}: live", show.read(lambda s: s.screen.redraws > 25 and b"eval  " in s.raw))
    plain = re.sub(r"\x1b\[[0-9]*m", "", show.raw.decode("utf-8", "replace"))
    frame = re.findall(r"\r([^\r\n]*loss[^\r\n]*)\x1b\[K", plain)[-1]
    check(f"train at {columns}: figures", "loss" in frame and "ETA" in frame and
          (columns < 80 or ("─" if utf8 else "[") in frame and "val" in frame) and
          (columns < 200 or "tok/s" in frame and "%" in frame), frame)
    check(f"train at {columns}: nothing wrapped", not show.screen.wrapped, show.screen.wrapped[:2])
    if not utf8:
        check("ASCII where the locale is not UTF-8", show.raw.isascii())
    show.end(signal.SIGTERM)
    look(f"train at {columns}", show, 75, "eval", "run directory", wrapped=8)


def test_compare(columns):
    directory = f"study{columns}"
    show = Show(columns, "compare", *TINY, *FOREVER, "--schedules", "fixed,linear,steps:0=0.2,1000=0.15,2000=0.1",
                "--seeds", "2", "-t", "2", "--jobs", "2", "-o", directory)
    good = show.read(lambda s: s.screen.text().count("/4000000") == 2 and s.screen.redraws > 8)
    check(f"compare at {columns}: two runs in the table", good, show.screen.text()[-300:])
    check(f"compare at {columns}: nothing wrapped", not show.screen.wrapped, show.screen.wrapped[:2])
    # suspended, and the shell writes; what it wrote must stay, but where the stop fell between two parts of one drawing
    for _ in range(4):
        show.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        show.read(seconds=0.3)
        show.screen.feed(b"\r\n[1]+  Stopped\r\n$ fg\r\ndd-cpu\r\n")
        show.process.send_signal(signal.SIGCONT)
        before = show.screen.redraws
        show.read(lambda s: s.screen.redraws > before + 4)
        if "[1]+  Stopped\n$ fg\ndd-cpu\n" in show.screen.text():
            break
    check(f"compare at {columns}: what the shell wrote stays", "[1]+  Stopped\n$ fg\ndd-cpu\n" in show.screen.text(),
          show.screen.text()[-400:])
    show.end(signal.SIGTERM)
    check(f"compare at {columns}: exit code", show.process.returncode == 75, show.process.returncode)
    check(f"compare at {columns}: ends at the left", show.screen.x == 0 and not show.screen.odd, show.screen.odd)


def test_resize():
    show = Show(200, "train", *TINY, *FOREVER, "-o", "resized")
    for columns in (200, 60, 30, 120):
        show.resize(columns)
        show.read(seconds=0.3)  # what was written for the old width
        show.screen.wrapped.clear()
        before = show.screen.redraws
        check(f"goes on after a resize to {columns}", show.read(lambda s: s.screen.redraws > before + 5))
        check(f"fits after a resize to {columns}", not show.screen.wrapped, show.screen.wrapped[:2])
    show.end(signal.SIGINT)
    check("resized: exit code", show.process.returncode == 75, show.process.returncode)


def test_others():
    """The commands that show a phase, on a narrow terminal; and names that are long or of wide characters."""
    for name in ("日本語の名前-ñ", "long-" + "n" * 150):
        show = Show(40, "train", *TINY, "--max-iters", "20", "--eval-interval", "10", "-o", name)
        show.end()
        look(f"a run called {name[:8]}", show, 0, wrapped=0 if len(name) < 40 else 12)
    for arguments in (["eval", "base", "--data", "text"], ["sample", "base", "--max-new-tokens", "50"],
                      ["verify", "base", "--replay", "last"], ["prepare", "text", "-o", "prepared"],
                      ["report", "base", "--format", "md", "-o", "r.md"]):
        show = Show(40, *arguments)
        show.end()
        look(f"{arguments[0]} at 40", show, 0)
    show = Show(80, "sample", "base", "--max-new-tokens", "50", both=True)
    show.end()
    look("sample with text on the terminal", show, 0, "tokens/s")


def call(*arguments, env=None, **more):
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE")}
    return subprocess.run([program, *arguments], capture_output=True, env={**clean, "TERM": "xterm", **(env or {})},
                          stdin=subprocess.DEVNULL, **more)


JSON_CALLS = [
    ["train", *TINY, "--max-iters", "20", "-o", "base", "--overwrite", "--eval-interval", "10", "--sample-chars", "9"],
    ["train", *TINY, "--dry-run"], ["train", "-o", "base", "--resume", "--eval-only"],
    ["compare", *TINY, "--max-iters", "10", "--schedules", "fixed,late", "--seeds", "1", "--jobs", "1", "-o", "cells"],
    ["compare", *TINY, "--dry-run", "--seeds", "1"],
    ["eval", "base", "--data", "text"], ["sample", "base", "--max-new-tokens", "9", "--num-samples", "2"],
    ["verify", "base"], ["prepare", "text", "-o", "json-data"], ["schedules"], ["schedules", "cosine"], ["info"],
    ["report", "cells"], ["report", "cells", "--format", "csv"],
    ["bench", "generate", "--quick", "--repeats", "1", "--peers", "none", "-t", "1", "--preset", "tiny"]]


def test_json_and_logs():
    for arguments in JSON_CALLS:
        what = " ".join(arguments[:2])
        done = call(*arguments, "--json", *(["-"] if arguments[0] == "bench" else []))
        check(f"{what} --json: exit code", done.returncode == 0, done.stderr[-300:])
        one = done.stdout.count(b"\n") == 1 and done.stdout.endswith(b"\n")
        check(f"{what} --json: one line", one, done.stdout[:200])
        try:
            result = json.loads(done.stdout)
            check(f"{what} --json: names itself", arguments[0] in (result.get("command"), "bench"), result)
        except ValueError as why:
            check(f"{what} --json: JSON", False, f"{why}: {done.stdout[:200]}")
        log = done.stderr.decode()
        plain = "\x1b" not in log and "\r" not in log and (not log or log.endswith("\n"))
        check(f"{what}: plain log", plain, log[:300])
        if arguments[0] == "bench":
            continue  # seconds for nothing new
        quiet = call(*arguments, "-q", *(["--overwrite"] if arguments[0] == "prepare" or "base" in arguments[-6:] and
                                         arguments[0] == "train" and "--resume" not in arguments else []))
        check(f"{what} -q: nothing but results", not quiet.stderr or b"warning" in quiet.stderr, quiet.stderr[:300])
    log = call("train", *TINY, "--max-iters", "20", "--eval-interval", "10", "-o", "logged").stderr.decode()
    check("a log has a line per record", len(re.findall(r"^iter \d+/20 loss ", log, re.M)) == 3 and
          len(re.findall(r"^eval \d+/20 train ", log, re.M)) == 3, log)
    more = call("train", *TINY, "--max-iters", "20", "-v", "-o", "logged", "--overwrite").stderr.decode()
    check("-v says at least as much", len(more.splitlines()) >= 5, more)


def test_colors():
    """Colour or not on a terminal and in a log, by variables and option."""
    cases = [({}, [], True, False), ({"NO_COLOR": "1"}, [], False, False), ({"NO_COLOR": ""}, [], True, False),
             ({"CLICOLOR": "0"}, [], False, False), ({"CLICOLOR_FORCE": "1"}, [], True, True),
             ({"CLICOLOR_FORCE": "0"}, [], True, False), ({"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, [], True, True),
             ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, [], False, False), ({"TERM": "dumb"}, [], False, False),
             ({"TERM": ""}, [], False, False), ({"NO_COLOR": "1"}, ["--color", "always"], True, True),
             ({"CLICOLOR_FORCE": "1"}, ["--color=never"], False, False)]
    for env, options, terminal, log in cases:
        what = f"{env} {options}"
        show = Show(80, "verify", "base", *options, both=True, env=env)
        show.end()
        check(f"colour on a terminal, {what}", (b"m" in show.raw and b"\x1b[3" in show.raw) == terminal, show.raw[:200])
        check(f"colour in a pipe, {what}", (b"\x1b[" in call("verify", "base", *options, env=env).stdout) == log)
        wrong = call("verify", "nowhere", *options, env=env).stderr
        check(f"colour of an error in a log, {what}", (b"\x1b[" in wrong) == log, wrong)
    show = Show(80, "train", *TINY, "--max-iters", "20", "-o", "dumb", both=True, env={"TERM": "dumb"})
    show.end()
    check("TERM=dumb: plain lines", b"\x1b" not in show.raw and b"iter 10/20" in show.raw, show.raw[-200:])


SUGGESTIONS = [("trian", "train"), ("help reprot", "report"), ("train --shedule linear", "--schedule"),
               ("train --schedule linaer", "linear"), ("train --preset smal", "small"),
               ("report x --format htlm", "html"),
               ("train --data shakespear", "shakespeare"), ("train --tokenizer chra", "char"),
               ("train --on-nan rolback", "rollback"), ("train --color alwys", "always"),
               ("train --dropout-sites embd", "embed"), ("train --dropout-attn 0.1,cosin", "cosine"),
               ("sample base --weights int9", "int8"), ("sample base --checkpoint lates", "latest"),
               ("compare --schedules fixed,lienar", "linear"), ("compare --grid n_layr=1,2", "n_layer"),
               ("bench kernals", "kernels"), ("bench step --preset tniy", "tiny"), ("schedules cosin", "cosine")]


def test_suggestions():
    for line, wanted in SUGGESTIONS:
        done = call(*line.split())
        check(f"suggestion for {line}", f"did you mean '{wanted}'?".encode() in done.stderr and
              done.returncode == (74 if "--data" in line else 2) and not done.stdout, done.stderr)


def test_closed_stdout():
    for arguments in (["verify", "base"], ["info"], ["info", "--json"], ["--help"], ["schedules"]):
        done = subprocess.run(["sh", "-c", '"$0" "$@" >&-', program, *arguments], stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        check(f"{arguments} with stdout closed", done.returncode == 74 and b"standard output" in done.stderr, done)


missing = None
try:
    for end in pty.openpty():
        os.close(end)
except OSError as error:
    missing = error
with tempfile.TemporaryDirectory() as place:
    os.chdir(place)
    with open("text", "w", encoding="utf-8") as f:
        f.write("".join("etaoin shrdlu\n"[i * i * 7919 // 13 % 14] for i in range(6000)) + "etaoin shrdlu\n")
    TINY += ["--data", "text"]
    began = time.monotonic()
    test_json_and_logs()
    test_suggestions()
    test_closed_stdout()
    if not missing:
        test_colors()
        for columns, utf8 in ((40, True), (80, True), (80, False), (200, True)):
            test_train(columns, utf8)
        for columns in (40, 200):
            test_compare(columns)
        test_resize()
        test_others()
print(f"{passed} passed, {failed} failed in {time.monotonic() - began:.1f} s")
if missing:
    print(f"skipped the rest: no pseudo-terminal can be opened here ({missing}); mount a devpts at /dev/pts")
sys.exit(1 if failed else 77 if missing else 0)
