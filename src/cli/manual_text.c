/* What manual pages say beyond the tables: one entry per command. A command without one gets its line of help. */
#include "cli/options.h"
#include <string.h>

#define TEXT(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}
#define ROWS(name, ...) static const dd_pair name[] = {__VA_ARGS__, {NULL, NULL}}

TEXT(program_text,
  "`dd-cpu` trains language models of GPT-2's shape on CPUs, with a dropout rate that moves while it trains. A run "
  "is a function of its settings, its text and its seed: the number of threads, the instruction set, the compiler, "
  "interruptions, and how often is evaluated or saved do not change a bit of it. Every run ends with a fingerprint "
  "of its weights that shows this.",
  "Model, initialization, optimizer, data split and names of options are those of nanoGPT; its configuration files "
  "and its directories with `train.bin` and `val.bin` are read.",
  "Results go to standard output, everything else to standard error. Without further options, `dd-cpu train` trains "
  "the model of the paper on dynamic dropout on Tiny Shakespeare; `dd-cpu train --preset small` is a matter of "
  "minutes.",
  "On clusters, SIGTERM saves and ends with 75, and `--auto-resume` goes on: the examples `slurm-train.sh` and "
  "`slurm-compare.sh` that come with the program are ready for `sbatch`.");
ROWS(program_files,
  {"share/doc/dd-cpu/examples", "Beside bin/, where the program stands: recipes for Slurm and for studies."},
  {"~/.cache/dd-cpu", "Texts that were fetched, verified by size and SHA-256. There is no configuration file that is "
                      "read unasked."});

TEXT(train_text,
  "Trains a model on a text and writes checkpoints, metrics and configuration to the directory `--out`. The last "
  "line on standard output is the fingerprint of the final weights.",
  "`--data` takes a text file (UTF-8, or any file with `--tokenizer byte`), a directory with `train.bin` and "
  "`val.bin`, or the name of a known text: shakespeare, kjv, enwik8 or text8.",
  "SIGINT, SIGTERM, SIGHUP and SIGXCPU save a checkpoint within one micro-batch and end with 75; `--resume` goes on "
  "to the same bits. SIGUSR1 saves and goes on. A second interrupt from the keyboard ends at once. `--auto-resume` "
  "makes one command serve for every start of a job that is queued again.",
  "Every option is also a key of configuration files (`--config`), with lines `key = value`; those of nanoGPT are "
  "read.");
ROWS(run_files,
  {"RUN/config.json", "Everything needed to repeat the run; `--config` reads it."},
  {"RUN/metrics.jsonl", "One JSON object per line: progress, evaluations, events."},
  {"RUN/ckpt-ITERATION.safetensors", "Checkpoints: weights under GPT-2's names, moments, state."},
  {"RUN/latest, RUN/best", "The names of the newest checkpoint and of that with the lowest validation loss."},
  {"RUN/run.lock", "Locked by the process that trains here."});

TEXT(compare_text,
  "Trains every schedule of `--schedules` with every seed, and with every combination of `--grid`, several runs at "
  "once where the processors allow it. Then it compares the schedules seed by seed (mean difference, 95 % "
  "intervals, an exact permutation test with Holm's correction) and writes `report.html`, `report.md` and "
  "`report.json`.",
  "The same command goes on where it was stopped; with more schedules or seeds it adds them. `--shard 2/4` runs the "
  "second of four parts, so machines with a common file system, or the tasks of a job array, can share a study.");
ROWS(study_files,
  {"STUDY/compare.json", "The plan: schedules, seeds, grid."},
  {"STUDY/NAME/", "A run directory per cell, see dd-cpu-train(1)."},
  {"STUDY/report.html, report.md, report.json", "The result."});

TEXT(eval_text,
  "Computes the mean loss of a run, or of one of its checkpoints, over the validation part of a text: that of the "
  "run, or another one given with `--data`. `--weights int8` tells what rounding the weights costs.");
TEXT(sample_text,
  "Generates text from a run and writes it to standard output. The same seed gives the same text with any number of "
  "threads and any instruction set. Several samples advance together, and each is what it would be alone.");
TEXT(export_text,
  "Writes the weights of a run, or its metrics, for other programs: a directory that Hugging Face transformers loads, "
  "tokenizer included; a checkpoint for nanoGPT's `model.py`; a GGUF file for llama.cpp; metrics as CSV or as event "
  "files for TensorBoard. `dd-cpu train --init-from` reads the first two back.");
TEXT(inspect_text,
  "Says of files and directories what they are and what is in them, without trusting them: runs, checkpoints, "
  "safetensors, GGUF, PyTorch's checkpoints, token files, vocabularies, metrics. It reads only what it needs.");
TEXT(verify_text,
  "Reads a run directory or a checkpoint again and checks hashes, numbers, fingerprints, metrics, pointers and the "
  "training text, a line per file. With `--replay` it also trains again, in memory, from one checkpoint to another "
  "and compares every bit. It writes nothing and may look at a run that is training. It ends with 4 when anything "
  "is damaged.");
TEXT(prepare_text,
  "Turns a text into the files that nanoGPT and this program train from: tokens of 16 bits in `train.bin` and "
  "`val.bin`, and the vocabulary in `meta.json`.");
ROWS(prepare_files,
  {"DIR/train.bin, DIR/val.bin", "Tokens, unsigned, little-endian, 16 bits."},
  {"DIR/meta.json", "The vocabulary and where the text came from."});
TEXT(schedules_text,
  "Without an argument, lists the dropout schedules with a small picture of each. With one, explains it and draws "
  "the rate over a run with the options given, which are those of dd-cpu-train(1).");
TEXT(info_text,
  "Prints what the program found: processor, instruction sets, the number of threads and why, control group limits, "
  "memory nodes, versions of libraries.");
TEXT(bench_text,
  "Measures the ceilings of the machine, the kernels, the matrix products, the training step, generation and "
  "scaling, each beside the limit that binds it, and beside OpenBLAS, BLIS and oneDNN where they are installed. It "
  "says when other programs, a hypervisor or a throttling processor disturbed the figures.");
TEXT(report_text,
  "Analyses directories of dd-cpu-compare(1), run directories, or directories of them. Runs that differ in nothing "
  "but seed and schedule are compared, also when they were trained one by one. Runs that are unfinished or damaged "
  "are listed with the reason and count for nothing.");

static const dd_manual_text texts[] = {
  {"", program_text, program_files},
  {"train", train_text, run_files},
  {"compare", compare_text, study_files},
  {"eval", eval_text, NULL},
  {"sample", sample_text, NULL},
  {"export", export_text, NULL},
  {"inspect", inspect_text, NULL},
  {"verify", verify_text, run_files},
  {"prepare", prepare_text, prepare_files},
  {"schedules", schedules_text, NULL},
  {"info", info_text, NULL},
  {"bench", bench_text, NULL},
  {"report", report_text, study_files},
};

const dd_manual_text *dd_manual_text_of(const char *command) {
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (!strcmp(texts[i].command, command)) return &texts[i];
  return NULL;
}
