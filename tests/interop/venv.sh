#!/bin/sh
# Make the Python environment of the interop tests: venv.sh [DIRECTORY]  (build/venv where none is named)
#  PYTHON  the Python it is made from; without, python3, or the system's own where only that one has torch
# A torch that this Python has (Debian, Ubuntu: apt-get install python3-torch) is used; otherwise the package index's is
# installed, which for Linux on x86-64 brings gigabytes of CUDA libraries. What is there from an earlier call is kept.
# Exit code 77: the package index cannot be reached.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
venv=${1:-$here/../../build/venv}
requirements=$here/requirements.txt
mkdir -p "$venv" && venv=$(cd "$venv" && pwd) || exit 1
use() { echo "export DD_PYTHON=$venv/bin/python"; }

if cmp -s "$requirements" "$venv/made-from.txt" && "$venv/bin/python" -c '' 2>/dev/null; then
  use
  exit
fi

has_torch() { "$1" -c 'import torch' 2>/dev/null; }
python=${PYTHON:-python3} site=
if has_torch "$python"; then site=--system-site-packages
elif [ -z "${PYTHON:-}" ] && has_torch /usr/bin/python3; then
  python=/usr/bin/python3 site=--system-site-packages
else
  echo "torch comes from the package index: $python has none (Debian, Ubuntu: apt-get install python3-torch)"
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
  echo "$python is not Python 3.11 or 3.12, which the versions in $requirements are for: name one by PYTHON"
  exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  echo "$python cannot make virtual environments (Debian, Ubuntu: apt-get install python3-venv)"
  exit 1
fi
"$python" -m venv --clear $site "$venv" || exit 1

log=$venv/pip.log
if ! LC_ALL=C "$venv/bin/python" -m pip --disable-pip-version-check --no-input --retries 2 --timeout 60 \
    install --only-binary :all: --progress-bar off -r "$requirements" >"$log" 2>&1; then
  tail -n 5 "$log"
  # What pip says of a connection that could not be made or broke off; a package that is not there is another matter.
  if grep -qE 'connection broken by|Max retries exceeded|Read timed out|Could not fetch URL' "$log"; then
    echo 'skipped: the package index cannot be reached, so there is no Python environment for the interop tests'
    exit 77
  fi
  echo "the Python environment could not be made: $log has the reason"
  exit 1
fi
cp "$requirements" "$venv/made-from.txt" && use
