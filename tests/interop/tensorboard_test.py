#!/usr/bin/env python3
"""TensorBoard's own readers on what dd-cpu writes: tensorboard_test.py DD_CPU TEST_EVENTS

Every scalar equals metrics.jsonl as a 32-bit float, checksums are right, a resumed run has no step twice, a torn end
is passed over, settings arrive as text and hyperparameters, a study's runs stand side by side, and an exported run has
the scalars of the live one. Exit 77 with a line that says what is missing when TensorBoard is not installed."""
import glob
import json
import logging
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time

try:
    from tensorboard.backend.event_processing import event_accumulator, event_file_loader, event_multiplexer
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
    from tensorboard.plugins.hparams import plugin_data_pb2
except ImportError as missing:
    print(f"skipped: {missing} (name a Python that has tensorboard with DD_PYTHON)")
    sys.exit(77)

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells what it purges
program, converter = sys.argv[1:3]
passed = failed = 0
TAGS = {"step": {"loss": "loss/batch", "dropout": "dropout", "lr": "lr", "grad_norm": "grad_norm",
                 "tokens_per_s": "tokens_per_s", "ms_per_iter": "ms_per_iter"},
        "eval": {"train_loss": "loss/train", "val_loss": "loss/val", "best_val_loss": "loss/val_best"}}
TINY = ["--preset", "tiny", "--threads", "1", "--log-interval", "5"]


def check(what, good, more=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print(f"FAILED {what} {more}")


def run(*arguments, codes=(0,)):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    check(f"exit code of {' '.join(arguments)}", done.returncode in codes, f"{done.returncode}: {done.stderr[-400:]}")


def single(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def wanted(directory):
    """{tag: [(step, value)]} of metrics.jsonl."""
    want = {}
    for line in open(f"{directory}/metrics.jsonl", encoding="utf-8"):
        o = json.loads(line)
        for key, tag in TAGS.get(o["type"], {}).items():
            want.setdefault(tag, []).append((o["iter"], single(o[key])))
        if o["type"] == "eval":
            want.setdefault("loss/gap", []).append((o["iter"], single(o["val_loss"] - o["train_loss"])))
        for site, rate in o.get("rates", {}).items():
            want.setdefault(f"dropout/{site}", []).append((o["iter"], single(rate)))
    return want


def accumulate(directory):
    events = event_accumulator.EventAccumulator(directory, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def scalars(events):
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def check_crc(path):
    data, at, records = open(path, "rb").read(), 0, 0
    while at < len(data):
        n, crc = struct.unpack_from("<QI", data, at)
        check(f"crc of a length in {path}", crc == masked_crc32c(data[at:at + 8]))
        body = data[at + 12:at + 12 + n]
        check(f"crc of a record in {path}", struct.unpack_from("<I", data, at + 12 + n)[0] == masked_crc32c(body))
        at, records = at + 16 + n, records + 1
    loaded = len(list(event_file_loader.EventFileLoader(path).Load()))
    check(f"records that the loader finds in {path}", loaded == records and records > 5, f"{loaded} of {records}")


def event_files(directory):
    return sorted(glob.glob(f"{directory}/tensorboard/events.out.tfevents.*"))


def test_run(root):
    out = f"{root}/run"
    run("train", *TINY, "--tensorboard", "--schedule", "cosine", "--dropout-attn", "0.1,late", "-q", "-o", out)
    events = accumulate(f"{out}/tensorboard")
    check("scalars of a run", scalars(events) == wanted(out) and len(wanted(out)) == 14)
    check_crc(event_files(out)[0])
    text = events.Tensors("settings")[0].tensor_proto.string_val[0].decode()
    check("settings as a table", "| settings.schedule | cosine |" in text and text.startswith("| setting | value |\n"))
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    check("hyperparameters", hparams["schedule"].string_value == "cosine" and hparams["lr"].number_value == 1e-3)
    check("the plugin of texts", events.SummaryMetadata("settings").plugin_data.plugin_name == "text")
    subprocess.run([converter, "export", "tensorboard", out, f"{root}/converted"], check=True)
    check("an exported run", scalars(accumulate(f"{root}/converted")) == wanted(out))


def start_and_stop(out, resume):
    """Train until a few step records are there, then SIGTERM (or SIGKILL the first time)."""
    how = ["--resume", "-o", out] if resume else [*TINY, "--tensorboard", "--max-iters", "100000", "--eval-interval",
                                                 "40", "-o", out]
    process = subprocess.Popen([program, "train", "-q", *how], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    before = os.path.getsize(f"{out}/metrics.jsonl") if resume else 0
    for _ in range(600):
        time.sleep(0.05)
        if os.path.exists(f"{out}/latest") and os.path.getsize(f"{out}/metrics.jsonl") > before + 12000:
            break
    process.send_signal(signal.SIGTERM if resume else signal.SIGKILL)
    said = process.communicate()[1].decode()
    check("how a stopped run ends", process.returncode == (75 if resume else -signal.SIGKILL), said)


def test_resume(root):
    out = f"{root}/resumed"
    start_and_stop(out, False)
    with open(event_files(out)[0], "ab") as torn:  # as a crash in the middle of a write
        torn.write(struct.pack("<Q", 100) + b"abc")
    start_and_stop(out, True)
    start_and_stop(out, True)
    check("a file for each process", len(event_files(out)) == 3)
    have = scalars(accumulate(f"{out}/tensorboard"))
    check("scalars of a run killed and resumed", have == wanted(out))
    for tag, values in have.items():
        steps = [step for step, _ in values]
        check(f"steps of {tag}", steps == sorted(set(steps)) and len(steps) > 3)


def test_study(root):
    out = f"{root}/study"
    run("compare", *TINY, "--tensorboard", "--schedules", "fixed,linear", "--seeds", "1", "-q", "--jobs", "1",
        "-o", out)
    many = event_multiplexer.EventMultiplexer(size_guidance={"scalars": 0})
    many.AddRunsFromDirectory(out).Reload()
    runs = sorted(many.Runs())
    check("runs of a study", len(runs) == 2 and "fixed" in runs[0] and "linear" in runs[1], str(runs))
    for name in runs:
        have = [(e.step, e.value) for e in many.Scalars(name, "loss/val")]
        check(f"losses of {name}", have == wanted(f"{out}/{os.path.dirname(name)}")["loss/val"])
    subprocess.run([converter, "export", "tensorboard", out, f"{root}/many"], check=True)
    check("an exported study", sorted(os.listdir(f"{root}/many")) == [name.split("/")[1] for name in runs], str(runs))


with tempfile.TemporaryDirectory() as place:
    for test in (test_run, test_resume, test_study):
        test(place)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
