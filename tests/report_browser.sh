#!/bin/sh
# The HTML report in headless Chromium (exit 77 where there is none): see report_browser.py.
#   report_browser.sh PATH-OF-TEST_HTML [DIRECTORY-FOR-PICTURES]
set -u
pages=${1:?usage: report_browser.sh PATH-OF-TEST_HTML [DIRECTORY-FOR-PICTURES]}
if ! command -v python3 >/dev/null; then
  echo "skipped: no python3 here"
  exit 77
fi
if [ -n "${DD_QUICK:-}" ]; then
  echo "skipped: DD_QUICK is set, and the page is the same from every build"
  exit 77
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd browser.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
if ! "$pages" --write "$tmp"; then
  echo "FAILED to write the pages"
  exit 1
fi
shift
python3 "$(dirname "$0")/report_browser.py" "$tmp" "$@"
