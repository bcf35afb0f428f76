#!/usr/bin/env python3
"""Writes unicode_tables.c: unicode.py OUTPUT. General categories L* and N* and the property White_Space of Unicode
16.0.0, from Python's unicodedata (Python 3.14) or, with an older Python, the package unicodedata2 16.0.0."""
import sys

VERSION = "16.0.0"
try:
    import unicodedata2 as data
except ImportError:
    import unicodedata as data
if data.unidata_version != VERSION:
    sys.exit(f"unicode.py needs Unicode {VERSION}, this Python has {data.unidata_version}: "
             f"pip install unicodedata2=={VERSION}")

# Python knows categories, not White_Space: that is Z* and these controls.
CONTROLS = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85}
SHIFT = 7
PAGE = 1 << SHIFT


def kind(code):
    category = data.category(chr(code))[0]
    return 1 if category == "L" else 2 if category == "N" else 3 if category == "Z" or code in CONTROLS else 0


def rows(values, width, per_line):
    for i in range(0, len(values), per_line):
        yield "  " + ", ".join(format(v, width) for v in values[i:i + per_line]) + ",\n"


def main(output):
    blocks, pages = [], []
    for first in range(0, 0x110000, PAGE):
        block = tuple(kind(c) for c in range(first, first + PAGE))
        if block not in blocks:
            blocks.append(block)
        pages.append(blocks.index(block))
    nothing = blocks.index((0,) * PAGE)
    while pages[-1] == nothing:
        pages.pop()
    assert len(blocks) <= 256
    words = []
    for block in blocks:
        for at in range(0, PAGE, 32):
            words.append(sum(k << 2 * i for i, k in enumerate(block[at:at + 32])))
    with open(output, "w") as out:
        out.write(f"/* Written by unicode.py from the Unicode Character Database {VERSION}; do not edit. */\n")
        out.write('#include "formats/unicode.h"\n\n')
        out.write(f"const uint8_t dd_unicode_page[{len(pages)}] = {{\n")
        out.writelines(rows(pages, "d", 22))
        out.write(f"}};\nconst uint32_t dd_unicode_pages = {len(pages)};\n\n")
        out.write(f"const uint64_t dd_unicode_block[{len(blocks)} * {PAGE // 32}] = {{\n")
        out.writelines(rows(words, "#018x", 5))
        out.write("};\n")


main(sys.argv[1])
