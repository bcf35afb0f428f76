#!/usr/bin/env python3
"""embed.py OUT.c FILE...: every FILE as a terminated array dd_asset_NAME, with dots of its name as underscores."""

import os
import sys

out, files = sys.argv[1], sys.argv[2:]
text = '#include "study/assets.h"\n'
for path in files:
    with open(path, "rb") as f:
        data = f.read()
    data.decode("utf-8")
    if b"\0" in data or b"</script" in data or b"</style" in data:
        sys.exit(path + ": would end the element that it is embedded in")
    name = "dd_asset_" + os.path.basename(path).replace(".", "_")
    text += "const char %s[] = {\n" % name
    for i in range(0, len(data), 24):
        # (char) because a byte above 127 does not fit into a char where that is signed
        text += ",".join(str(b) if b < 128 else "(char)%d" % b for b in data[i : i + 24]) + ",\n"
    text += "0};\n"
with open(out, "w") as f:
    f.write(text)
