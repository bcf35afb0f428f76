#!/bin/sh
# Run a test of the other side's own program: interop.sh TEST.py ARGUMENT... with the Python that $DD_PYTHON names.
exec "${DD_PYTHON:-python3}" -B "$@"
