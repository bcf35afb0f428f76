"""What the interop tests share: skipping, running dd-cpu, made-up texts, counting."""
import array
import importlib
import os
import random
import subprocess
import sys
import tempfile

DD_CPU, LOGITS = (os.path.abspath(p) for p in sys.argv[1:3])
passed = failed = 0


def need(*names):
    """Import modules; when one is missing, say which and skip (meson's exit code 77)."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except Exception as e:
            print(f"skipped: Python module {name} is not usable here ({e})")
            sys.exit(77)
    return modules


def check(what, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {what} {detail}")


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


def start():
    """A directory of its own, which is left when the test ends."""
    directory = tempfile.TemporaryDirectory()
    os.chdir(directory.name)
    return directory


def dd(*args, rc=0, text=""):
    """Run dd-cpu and check its exit code and that `text` is in what it says."""
    p = subprocess.run([DD_CPU, *map(str, args)], capture_output=True, text=True, errors="replace")
    check(f"dd-cpu {' '.join(map(str, args))}", p.returncode == rc and text in p.stderr,
          f"exit code {p.returncode}, not {rc}, or without '{text}': {p.stderr[-500:]}")
    return p.stdout


def logits(run, ids):
    """[len(ids)][V] floats of the engine, one flat array."""
    p = subprocess.run([LOGITS, run], input=" ".join(map(str, ids)).encode(), capture_output=True)
    check(f"logits of {run}", p.returncode == 0, p.stderr.decode())
    out = array.array("f")
    out.frombytes(p.stdout)
    return out


def far(a, b):
    """Largest difference, relative to the largest value."""
    a, b = list(a), list(b)
    assert len(a) == len(b), (len(a), len(b))
    return max(abs(x - y) for x, y in zip(a, b)) / max(abs(x) for x in a)


def write_text(path, characters, n=20000, seed=1):
    r = random.Random(seed)
    words = ["".join(r.choice(characters) for _ in range(r.randint(1, 7))) for _ in range(60)]
    with open(path, "w", encoding="utf-8", newline="") as f:
        text = "".join(r.choice(words) + r.choice(" \n") for _ in range(n // 5))
        f.write("".join(characters) + text)


def write_tokens(directory, vocabulary, n=6000, seed=1):
    r = random.Random(seed)
    os.makedirs(directory)
    for name, count in (("train.bin", n), ("val.bin", n // 4)):
        ids = [0, vocabulary - 1] + [min(int(r.expovariate(0.05)), vocabulary - 1) for _ in range(count)]
        with open(f"{directory}/{name}", "wb") as f:
            array.array("H", ids).tofile(f)


TINY = ("--preset", "tiny", "-q", "-t", "1", "--max-iters", "30", "--eval-interval", "15")
