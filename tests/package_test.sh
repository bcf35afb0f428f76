#!/bin/bash
# The Debian packages as a user of a fresh, minimal Debian 12 meets them: built with their tests, looked at by lintian,
# installed with apt in a root of debootstrap, used, removed without a trace.
#   DD_PACKAGE=1 package_test.sh  builds on this machine
#   DD_LONG=1 package_test.sh     builds in a root too, with nothing but what the package says it needs
# And the static programs, with glibc and with musl, compute the same. Takes minutes. Skipped (77) without root, the
# tools or the network. The mirror is the one that apt uses here.
# shellcheck disable=SC2016 # single quotes: for apt, and for shells in the root
set -uo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)

skip() {
  echo "skipped: $*"
  exit 77
}
[ "${DD_PACKAGE:-0}${DD_LONG:-0}" != 00 ] || skip 'takes minutes: DD_PACKAGE=1 or DD_LONG=1 runs it'
[ "$(id -u)" = 0 ] || skip 'not root'
for tool in debootstrap dpkg-buildpackage lintian git chroot; do
  command -v "$tool" >/dev/null || skip "$tool is not installed"
done
git -C "$source" rev-parse HEAD >/dev/null 2>&1 || skip 'no git checkout'
# one line per part of the archive: address, release, component
sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
  sort -u | grep -E ' bookworm(-updates|-security)? main$')
mirror=$(echo "$sources" | sed -n 's/ bookworm main$//p' | head -1)
[ "$mirror" ] || skip 'apt has no lists of Debian 12 (bookworm) here'

work=$(mktemp -d "${TMPDIR:-/var/tmp}/dd-package.XXXXXX") || exit 1
# shellcheck disable=SC2317 # called by the trap
cleanup() {
  mountpoint -q "$work/root/proc" && umount "$work/root/proc"
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
passed=0 failed=0
check() { # check NAME COMMAND...
  local name=$1
  shift
  if "$@" >"$work/output" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $name ($SECONDS s)"
  else
    failed=$((failed + 1))
    echo "FAILED: $name: $*"
    tail -40 "$work/output"
  fi
}
done_with() {
  echo "$passed passed, $failed failed"
  [ $failed = 0 ]
  exit
}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# inside of the root, with an environment of its own
inside() { chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
  DEBIAN_FRONTEND=noninteractive bash -c "$2"; }

# ---- the root, in the background; the package meanwhile ----
debootstrap --variant=minbase --include=man-db,bash-completion bookworm "$work/root" "$mirror" \
  >"$work/debootstrap.log" 2>&1 &
bootstrap=$!
check 'the package is built, with its tests' "$source/.packaging/build-deb" "$work/deb" -us -uc
# the address of the maintainer is that of who builds
check 'lintian' lintian --fail-on error,warning --suppress-tags bogus-mail-host "$work"/deb/*.changes
wait $bootstrap || {
  tail -5 "$work/debootstrap.log"
  [ $failed = 0 ] || done_with
  skip 'debootstrap failed'
}
root=$work/root
printf 'deb %s\n' "${sources//$'\n'/$'\n'deb }" >"$root/etc/apt/sources.list"
for file in /etc/apt/apt.conf.d/*proxy* /etc/resolv.conf; do
  [ ! -f "$file" ] || cp -L "$file" "$root${file}"
done
check 'apt-get update' inside "$root" 'apt-get -qq update'

if [ "${DD_LONG:-0}" != 0 ]; then # before the packages below are in it
  cp -a "$root" "$work/build"
  mkdir "$work/build/src"
  cp "$work"/deb/*.dsc "$work"/deb/*.tar.* "$work/build/src"
  check 'what the package says it needs' inside "$work/build" \
    "sed 's/^deb /deb-src /' /etc/apt/sources.list >/etc/apt/sources.list.d/src.list
     apt-get -qq update && apt-get -qq install -y --no-install-recommends dpkg-dev fakeroot &&
     cd /src && dpkg-source -x ./*.dsc tree && cd tree && apt-get -qq build-dep -y --no-install-recommends ./"
  check 'built and tested with that alone' inside "$work/build" 'cd /src/tree && dpkg-buildpackage -us -uc -b'
  check 'the same program' cmp <(dpkg-deb --fsys-tarfile "$work"/build/src/dd-cpu_*.deb | tar -xO ./usr/bin/dd-cpu) \
    <(dpkg-deb --fsys-tarfile "$work"/deb/dd-cpu_*.deb | tar -xO ./usr/bin/dd-cpu)
  rm -rf "$work/build"
fi

# ---- installed, used, removed ----
# All files but the books that dpkg, apt, ldconfig and man keep themselves.
files() {
  (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log \
    -o -path ./tmp -o -path ./proc -o -path ./sys -o -path ./dev \) -prune -o -print | sort)
}
mount -t proc proc "$root/proc" 2>/dev/null || mount --bind /proc "$root/proc" || echo 'no /proc in the root'
files >"$work/before"
cp "$work"/deb/dd-cpu_*.deb "$root/tmp/dd-cpu.deb"
check 'apt-get install' inside "$root" 'apt-get -qq install -y --no-install-recommends /tmp/dd-cpu.deb'
check 'files were installed' [ "$(files | comm -13 "$work/before" - | grep -c dd-cpu)" -gt 20 ]
check 'dd-cpu --version' inside "$root" 'dd-cpu --version | grep -q "^dd-cpu [0-9.]* (numerics [0-9]*)$"'
check 'the revision is in it' inside "$root" "dd-cpu --version | grep -q $(git -C "$source" rev-parse HEAD)"
check 'man dd-cpu' inside "$root" 'man dd-cpu | grep -q "train GPTs with dynamic dropout"'
check 'man dd-cpu train' inside "$root" 'MANWIDTH=100 man dd-cpu train | grep -q -- "--schedule=NAME"'
check 'completion' inside "$root" 'cd /tmp
  source /usr/share/bash-completion/bash_completion && _completion_loader dd-cpu
  COMP_WORDS=(dd-cpu train --schedule cosi) COMP_CWORD=3 COMP_LINE="dd-cpu train --schedule cosi" COMP_POINT=28
  _dd_cpu && [ "${COMPREPLY[*]}" = cosine ]'
check 'dd-cpu train' inside "$root" 'cd /tmp
  for i in $(seq 400); do echo "To be, or not to be: that is the question."; done >text
  dd-cpu train --preset tiny --max-iters 20 --data text -o run >fingerprint && dd-cpu verify run &&
    grep -q "^fingerprint" fingerprint'
inside "$root" 'tail -1 /tmp/fingerprint' >"$work/fingerprint"
check 'apt-get purge' inside "$root" 'apt-get -qq purge -y --auto-remove dd-cpu'
files >"$work/after"
check 'not a file is left' diff "$work/before" "$work/after"

# ---- static programs, in the root again, where the libraries are gone ----
static() { # static NAME PROGRAM
  install -m 755 "$2" "$root/tmp/static"
  rm -rf "$root/tmp/run"
  check "$1 runs" inside "$root" \
    'cd /tmp && ./static train --preset tiny --max-iters 20 --data text -o run -t 2 >static.out'
  check "$1: the same fingerprint" cmp "$work/fingerprint" <(tail -1 "$root/tmp/static.out")
}
# shellcheck disable=SC2317 # called by check
build_static() {
  meson setup "$work/static" "$source" --buildtype=release --optimization=1 -Dstatic=true &&
    ninja -C "$work/static" src/dd-cpu
}
check 'a static program is built' build_static
static 'the static program' "$work/static/src/dd-cpu"
if command -v musl-gcc >/dev/null && command -v cmake >/dev/null; then
  check 'a static program with musl is built' "$source/.packaging/build-musl" "$work/musl" --optimization=1
  static 'the program with musl' "$work/musl/dd-cpu"
else echo 'skipped: musl (musl-tools or cmake is not installed)'; fi
done_with
