"""What programs built against libdd.so.0 rely on, as text: constants, structs with sizes and offsets, functions.

    abi.py COMPILER INCLUDE_DIR    prints it; tests/library.sh compares that with tests/abi/layout
    abi.py --functions INCLUDE_DIR prints the names that the headers declare with DD_API

A change of a line that was there before means that programs break: see `Compatibility` in include/dd_cpu.h. New lines
are new functions and constants.
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def declarations(include):
    text = "".join((include / name).read_text() for name in ("dd_cpu.h", "dd_gpt.h"))
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"^#.*?(?<!\\)$", " ", text, flags=re.M)


def functions(text):
    for found in re.finditer(r"DD_API\s+([^;]*\([^;]*\))\s*;", text):
        yield re.sub(r"\s+", " ", found.group(1))


def name_of(function):
    return re.search(r"(\w+)\(", function).group(1)


def members(body):
    for one in body.split(";"):
        one = re.sub(r"\s+", " ", one).strip()
        if not one:
            continue
        hook = re.search(r"\(\*(\w+)", one)
        yield (hook or re.search(r"(\w+)(\[\w+\])*$", one)).group(1), one


def main():
    if sys.argv[1] == "--functions":
        print("\n".join(sorted(name_of(f) for f in functions(declarations(pathlib.Path(sys.argv[2]))))))
        return
    compiler, include = sys.argv[1].split(), pathlib.Path(sys.argv[2])
    text = declarations(include)
    lines = ['#include "dd_cpu.h"', "#include <stdio.h>", "int main(void) {"]
    for body, name in re.findall(r"typedef enum \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        lines.append(f'  printf("enum {name}: %d bytes\\n", (int)sizeof({name}));')
        for constant in re.findall(r"(DD_\w+)", body):
            lines.append(f'  printf("  {constant} %d\\n", (int){constant});')
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.S):
        lines.append(f'  printf("struct {name}: %d bytes\\n", (int)sizeof({name}));')
        for member, declared in members(body):
            lines.append(f'  printf("  %d+%d {declared}\\n", (int)offsetof({name}, {member}), '
                         f"(int)sizeof((({name} *)0)->{member}));")
    lines.append("  return 0;\n}\n")
    with tempfile.TemporaryDirectory() as place:
        source, program = pathlib.Path(place) / "abi.c", pathlib.Path(place) / "abi"
        source.write_text("\n".join(lines))
        subprocess.run([*compiler, f"-I{include}", str(source), "-o", str(program)], check=True)
        print(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout, end="")
    print("\n".join(sorted(functions(text), key=name_of)))


main()
