"""Data in: what numpy and Python's pickle write is what dd-cpu reads, and trains to the same bits as the text itself.

data_test.py PATH-OF-DD-CPU
"""
import json
import os
import pickle
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

DD_CPU = os.path.abspath(sys.argv[1])
passed = failed = 0


def check(what, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {what} {detail}")


def run(*args):
    r = subprocess.run([DD_CPU, *map(str, args)], capture_output=True, text=True)
    return r.returncode, r.stdout, r.stderr


def inspect(path):
    rc, out, err = run("inspect", "--json", path)
    return json.loads(out)["files"][0] if rc == 0 else {"kind": None, "facts": {}, "error": err, "rc": rc}


def refused(what, path, words, rc=4):
    got = inspect(path)
    check(what, got.get("rc") == rc and words in got["error"] and got["error"].count("\n") == 1, got)


# ---- .npy: every integer type, every version of the format ----

def arrays():
    rng = np.random.default_rng(1)
    for code in ("<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "|u1", "|i1"):
        info = np.iinfo(code)
        a = rng.integers(max(info.min, -2**62), min(info.max, 2**62), 3000, dtype=np.dtype(code), endpoint=True)
        for version in ((1, 0), (2, 0), (3, 0)):
            with open("a.npy", "wb") as f:
                np.lib.format.write_array(f, a, version=version)
            got = inspect("a.npy")
            want = {"format": f"npy version {version[0]}", "type": np.dtype(code).name, "tokens": a.size,
                    "least": int(a.min()), "largest": int(a.max()), "first": [int(x) for x in a[:16]]}
            check(f"{code} {version}", got["kind"] == "npy" and want.items() <= got["facts"].items(), got)
    a = np.arange(12, dtype=np.uint16)
    for what, bad, words in (
            ("big-endian", a.astype(">u2"), "big-endian"),
            ("floats", a.astype("f4"), "does not hold integers"),
            ("booleans", a > 3, "does not hold integers"),
            ("rows", a.reshape(3, 4), "more than one dimension"),
            ("columns", np.asfortranarray(a.reshape(3, 4)), ""),
            ("a number", a[3:4].reshape(()), "without a dimension"),
            ("records", np.zeros(3, [("a", "<u2")]), "records"),
            ("strings", np.array(["a", "b"]), "does not hold integers"),
            ("objects", np.array([1, None]), "")):
        np.save("bad.npy", bad)
        refused(what, "bad.npy", words)
    np.savez("many.npz", a)
    check("npz", inspect("many.npz")["kind"] is None)
    whole = open("a.npy", "rb").read()
    for cut in (7, 11, 60, len(whole) - 1):
        open("cut.npy", "wb").write(whole[:cut])
        refused(f"cut at {cut}", "cut.npy", "cut.npy")


# ---- meta.pkl ----

def metas(chars, ids):
    def write(meta, protocol, pickler=pickle.Pickler):
        with open("meta/meta.pkl", "wb") as f:
            pickler(f, protocol).dump(meta)

    os.makedirs("meta", exist_ok=True)
    ids.tofile("meta/train.bin")
    ids.tofile("meta/val.bin")
    orders = {"ranks": chars, "reversed": chars[::-1]}
    for order, c in orders.items():
        meta = {"vocab_size": len(c), "itos": dict(enumerate(c)), "stoi": {ch: i for i, ch in enumerate(c)}}
        for protocol in range(6):
            for pickler in (pickle.Pickler, pickle._Pickler):  # the one in C and the one in Python
                write(meta, protocol, pickler)
                rc, out, err = run("prepare", "meta", "-o", "out", "--overwrite")
                check(f"{order} {protocol} {pickler.__module__}", rc == 0, err)
                ours = json.load(open("out/meta.json"))
                check(f"{order} {protocol} vocabulary", ours["vocabulary"] == [ord(x) for x in c], ours)
    words = {"vocab_size": len(chars), "itos": {i: f"word{i}" for i in range(len(chars))}}
    write(words, 4)
    rc, out, err = run("prepare", "meta", "-o", "out", "--overwrite")
    check("words", rc == 0 and "not one character" in err and json.load(open("out/meta.json"))["tokenizer"] == "number")

    class Evil:
        def __reduce__(self):
            return os.system, ("touch ran",)

    for protocol in range(6):
        for name, bad in (("call", Evil()), ("numpy", np.int64(len(chars))), ("set", {1, 2}), ("class", complex(1, 2))):
            write({"vocab_size": bad}, protocol)
            rc, out, err = run("prepare", "meta", "-o", "out", "--overwrite")
            check(f"{name} {protocol}", rc == 4 and "more than plain data" in err, err)
    check("nothing was run", not os.path.exists("ran"))


# ---- the same tokens by every way train to the same bits ----

def write_llmc(path, ids, magic=20240520, version=1, dtype=np.uint16):
    header = np.zeros(256, dtype=np.int32)
    header[:3] = magic, version, len(ids)
    with open(path, "wb") as f:
        f.write(header.tobytes() + ids.astype(dtype).tobytes())


def train(data, name):
    rc, out, err = run("train", "--preset", "tiny", "--max-iters", 20, "--eval-interval", 10, "--data", data, "-o",
                       "runs/" + name, "--overwrite", "-q")
    check(f"train on {name}", rc == 0, err)
    lines = [line.split()[1] for line in out.splitlines() if line.startswith("fingerprint ")]
    return lines[-1] if lines else None


def same_bits(text, chars, ids):
    n = int(0.9 * len(ids))
    parts = {"train": ids[:n], "val": ids[n:]}
    for d in ("nanogpt", "numpy", "llmc", "shards", "llama"):
        os.makedirs(d, exist_ok=True)
    for name, part in parts.items():
        part.tofile(f"nanogpt/{name}.bin")
        np.save(f"numpy/{name}.npy", part.astype(np.int64))
        write_llmc(f"llmc/tiny_{name}.bin", part)
        write_llmc(f"llama/tiny_{name}.bin", part, 20240801, 7, np.uint32)
        for i, piece in enumerate(np.array_split(part, 3)):
            write_llmc(f"shards/web_{name}_{i:06d}.bin", piece)
    with open("nanogpt/meta.pkl", "wb") as f:
        pickle.dump({"vocab_size": len(chars), "itos": dict(enumerate(chars)),
                     "stoi": {c: i for i, c in enumerate(chars)}}, f)
    np.save("one.npy", ids)
    write_llmc("one.bin", ids)
    ids.tofile("raw.bin")
    prints = {d: train(d, d) for d in ("text.txt", "nanogpt", "numpy", "llmc", "llama", "shards", "one.npy", "one.bin",
                                       "raw.bin")}
    check("one fingerprint", len(set(prints.values())) == 1 and None not in prints.values(), prints)
    rc, out, err = run("verify", "runs/text.txt", "--data", "nanogpt")
    check("the directory is the text, says verify", rc == 0, out + err)
    losses = [run("eval", "runs/text.txt", "--data", d)[1] for d in ("text.txt", "nanogpt")]
    check("eval on both", losses[0] and losses[0] == losses[1], losses)
    losses = [run("eval", "runs/numpy", "--data", d)[1] for d in ("numpy", "llmc", "one.npy", "raw.bin")]
    check("eval on tokens", losses[0] and len(set(losses)) == 1, losses)
    rc, out, err = run("train", "--preset", "tiny", "--resume", "-o", "runs/text.txt", "--max-iters", 30, "-q")
    check("resume", rc == 0, err)


def ours_to_numpy(text, chars, ids):
    """What `prepare` writes is what nanoGPT's memmap reads."""
    rc, out, err = run("prepare", "text.txt", "-o", "ours", "--overwrite")
    check("prepare", rc == 0, err)
    n = int(0.9 * len(text))
    train_ids = np.memmap("ours/train.bin", dtype=np.uint16, mode="r")
    val_ids = np.memmap("ours/val.bin", dtype=np.uint16, mode="r")
    check("tokens", np.array_equal(train_ids, ids[:n]) and np.array_equal(val_ids, ids[n:]))
    meta = json.load(open("ours/meta.json"))
    check("vocabulary", "".join(map(chr, meta["vocabulary"])) == chars and meta["vocab_size"] == len(chars))


def main():
    words = "to be or not that is the question \u00e9t\u00e9 na\u00efve \u20ac5 \U0001f600 \u4f60\u597d, he said.\n".split(" ")
    rng = np.random.default_rng(7)
    text = " ".join(words[i] for i in rng.integers(0, len(words), 4000))
    chars = "".join(sorted(set(text)))
    ids = np.array([chars.index(c) for c in text], dtype=np.uint16)
    with tempfile.TemporaryDirectory() as tmp:
        os.chdir(tmp)
        with open("text.txt", "w", encoding="utf-8", newline="") as f:
            f.write(text)
        arrays()
        metas(chars, ids)
        same_bits(text, chars, ids)
        ours_to_numpy(text, chars, ids)
        os.chdir("/")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
