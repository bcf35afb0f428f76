#!/bin/sh
# A header with the revision that is built: that of the archive (git archive fills it in), else what git says.
#   revision.sh SOURCE_ROOT OUTPUT
# shellcheck disable=SC2016 # for git archive
archived='$Format:%H$'
case $archived in
  *Format*) revision=$(git -C "$1" describe --always --dirty --abbrev=12 --match 'v[0-9]*' 2>/dev/null) ;;
  *) revision=$archived ;;
esac
printf '#define DD_REVISION "%s"\n' "$revision" >"$2"
