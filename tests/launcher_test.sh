#!/bin/sh
# Behaviour of ./dd-cpu that needs neither root nor a network: meson, ninja, apt-get and the program itself are scripts
# of this test, in a copy of the launcher whose path has spaces.
#   launcher_test.sh [PATH-OF-LAUNCHER]
set -u
unset CC DD_CPU_CORPUS DD_CPU_NO_INSTALL FAKE_ID # what the caller has set is no part of the test

launcher=${1:-$(dirname "$0")/../dd-cpu}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd launcher.XXXXXX") || exit 1
tmp=$(cd -P "$tmp" && pwd)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
failed=0 passed=0

ok() {
  passed=$((passed + 1))
  echo "ok $1"
}
not_ok() {
  failed=$((failed + 1))
  echo "not ok $1"
  shift
  [ $# = 0 ] || printf '#   %s\n' "$@"
}
is() { # is NAME WANTED FOUND
  if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2" "found:  $3"; fi
}
contains() { # contains NAME PART WHOLE
  case $3 in *"$2"*) ok "$1" ;; *) not_ok "$1" "wanted: $2" "in:     $3" ;; esac
}
lacks() {
  case $3 in *"$2"*) not_ok "$1" "found $2" "in $3" ;; *) ok "$1" ;; esac
}

# ---- a repository with the launcher, and tools that only write down what they are asked ----
repo="$tmp/a clone"
bin="$tmp/bin"
mkdir "$repo" "$bin" "$tmp/elsewhere"
cp "$launcher" "$repo/dd-cpu" || exit 1
for tool in sh cat rm mv mkdir mktemp chmod readlink flock grep sleep ls env; do
  path=$(command -v "$tool") && ln -s "$path" "$bin/$tool"
done
tool() { # tool NAME: its text comes from stdin
  { printf '#!/bin/sh\n'; cat; } >"$bin/$1"
  chmod +x "$bin/$1"
}
tool cc <<'END'
exit 0
END
tool pkg-config <<'END'
[ "$1" = --exists ] && [ ! -e "$FAKE/no-$2" ]
END
tool meson <<'END'
echo "meson $*" >>"$FAKE/log"
case $1 in
  --version) echo 1.0.1; exit ;;
  test) echo "tests ran: $*"; exit ;;
esac
[ ! -e "$FAKE/fail-configure" ] || { echo "why it cannot be configured"; exit 1; }
for last; do :; done
mkdir -p "$last/build/meson-private" "$last/build/meson-info"
echo x >"$last/build/build.ninja"
echo x >"$last/build/meson-private/coredata.dat"
echo '"cmocka"' >"$last/build/meson-info/intro-dependencies.json"
END
tool ninja <<'END'
case " $* " in
  *' -n '*) [ -e "$FAKE/built" ] && echo 'ninja: no work to do.' || echo '[1/2] something'; exit ;;
esac
mkdir "$FAKE/inside" || { echo "TWO BUILDS AT ONCE" >>"$FAKE/log"; exit 1; }
echo "ninja $*" >>"$FAKE/log"
sleep 0.3
rm -r "$FAKE/inside"
[ ! -e "$FAKE/fail-build" ] || { echo "file.c:3: error: what the compiler says"; exit 1; }
echo "a warning of the compiler"
mkdir -p "$2/src"
cp_program "$2/src/dd-cpu"
echo x >"$FAKE/built"
END
tool cp_program <<'END'
cat >"$1" <<'PROGRAM'
#!/bin/sh
if [ "${1-}" = hold ]; then sleep 3; exit; fi
echo "in $(pwd)"
for a; do echo "<$a>"; done
exit 7
PROGRAM
chmod +x "$1"
END
FAKE=$tmp
export FAKE
fresh() {
  rm -rf "$repo/build" "$tmp/built" "$tmp/log" "$tmp"/no-* "$tmp"/fail-*
  : >"$tmp/log"
}
run() { # run COMMAND...: fills out, errors, status
  out=$(PATH=$bin "$@" 2>"$tmp/stderr")
  status=$?
  errors=$(cat "$tmp/stderr")
}

fresh
cd "$tmp/elsewhere" || exit 1
run "$repo/dd-cpu" train '--prompt=two words' '' '*' -t 32
is 'arguments and directory arrive as given' "in $tmp/elsewhere
<train>
<--prompt=two words>
<>
<*>
<-t>
<32>" "$out"
is 'the exit status is that of the program' 7 "$status"
contains 'the first start configures' 'configuring' "$errors"
lacks 'a build that succeeds is quiet' 'a warning' "$errors$out"
contains 'only the program is built' "ninja -C $repo/build src/dd-cpu" "$(cat "$tmp/log")"

: >"$tmp/log"
run "$repo/dd-cpu" info
is 'the second start says nothing' '' "$errors"
is 'and builds nothing' '' "$(cat "$tmp/log")"
is 'and passes its arguments' "in $tmp/elsewhere
<info>" "$out"

ln -s "$repo/dd-cpu" "$tmp/link one"
ln -s 'link one' "$tmp/link two"
run "$tmp/link two" x
is 'works through symbolic links' "in $tmp/elsewhere
<x>" "$out"
cd "$repo" || exit 1
run ./dd-cpu y
is 'works as ./dd-cpu' "in $repo
<y>" "$out"
run sh dd-cpu z
is 'works as sh dd-cpu' "in $repo
<z>" "$out"

fresh
: >"$tmp/fail-configure"
run ./dd-cpu train
is 'a failing configuration ends with status 1' 1 "$status"
contains 'and shows what meson said' 'why it cannot be configured' "$errors"
rm "$tmp/fail-configure"
: >"$tmp/fail-build"
run ./dd-cpu train
is 'a failing build ends with status 1' 1 "$status"
contains 'and shows what the compiler said' 'file.c:3: error' "$errors"
is 'and prints nothing on stdout' '' "$out"
rm "$tmp/fail-build"
run ./dd-cpu train
is 'and the next start builds again' 7 "$status"

fresh
mkdir -p build/meson-private
: >build/meson-private/coredata.dat
run ./dd-cpu train
contains 'an interrupted configuration is started afresh' 'meson setup --wipe' "$(cat "$tmp/log")"
mv "$repo" "$tmp/moved"
: >"$tmp/log"
run "$tmp/moved/dd-cpu" train
contains 'a moved clone is configured again' "$tmp/moved" "$(cat "$tmp/log")"
mv "$tmp/moved" "$repo"

# ---- what is missing ----
fresh
cd "$tmp/elsewhere" || exit 1
out=$(PATH='' "$repo/dd-cpu" train 2>"$tmp/stderr")
is 'with an empty PATH it ends with status 1' 1 $?
errors=$(cat "$tmp/stderr")
for word in 'a C compiler' meson ninja pkg-config xxHash jansson; do
  contains "and names what is missing: $word" "$word" "$errors"
done
lacks 'and not the test library' cmocka "$errors"

tool apt-get <<'END'
echo "apt-get $*" >>"$FAKE/log"
case " $* " in *libjansson-dev*) rm -f "$FAKE/no-jansson" ;; *libcmocka-dev*) rm -f "$FAKE/no-cmocka" ;; esac
END
tool id <<'END'
echo "${FAKE_ID:-1000}"
END
: >"$tmp/no-jansson"
: >"$tmp/no-libxxhash"
run "$repo/dd-cpu" train
is 'without root it ends with status 1' 1 "$status"
contains 'and gives the exact command' \
  'apt-get update && apt-get install -y --no-install-recommends libxxhash-dev libjansson-dev' "$errors"
lacks 'and installs nothing' 'apt-get' "$(cat "$tmp/log")"
rm "$tmp/no-libxxhash"
FAKE_ID=0 DD_CPU_NO_INSTALL=1
export FAKE_ID DD_CPU_NO_INSTALL
run "$repo/dd-cpu" train
contains 'DD_CPU_NO_INSTALL is obeyed' 'nothing was installed' "$errors"
lacks 'even by root' 'apt-get' "$(cat "$tmp/log")"
unset DD_CPU_NO_INSTALL
run "$repo/dd-cpu" train
is 'root installs and goes on' 7 "$status"
contains 'with the packages that are missing' 'install -y --no-install-recommends libjansson-dev' "$(cat "$tmp/log")"
contains 'and says so' 'installing: libjansson-dev' "$errors"
contains 'optional helpers come along' 'bible-kjv' "$(cat "$tmp/log")"
: >"$tmp/log"
run "$repo/dd-cpu" train
is 'later starts install nothing' '' "$(cat "$tmp/log")"
unset FAKE_ID

# ---- the tests ----
: >"$tmp/no-cmocka"
run "$repo/dd-cpu" test
is 'tests need the test library' 1 "$status"
contains 'and say so' 'apt-get install -y --no-install-recommends libcmocka-dev' "$errors"
rm "$tmp/no-cmocka" "$tmp/built"
: >"$tmp/log"
run "$repo/dd-cpu" test --suite 'a b'
is 'arguments of test reach meson' "tests ran: test -C $repo/build --no-rebuild --suite a b" "$out"
contains 'after building everything' "ninja -C $repo/build all" "$(cat "$tmp/log")"

# ---- two at once ----
fresh
PATH=$bin "$repo/dd-cpu" one >"$tmp/one" 2>&1 &
first=$!
PATH=$bin "$repo/dd-cpu" two >"$tmp/two" 2>&1 &
wait "$first"
one=$?
wait $!
is 'two at the same time both run' '7 7' "$one $?"
lacks 'and do not build at the same time' 'TWO BUILDS' "$(cat "$tmp/log")"
PATH=$bin "$repo/dd-cpu" hold >/dev/null 2>&1 &
holder=$!
sleep 0.5
before=$(date +%s)
run "$repo/dd-cpu" quick
after=$(date +%s)
name='a running program holds no lock'
if [ $((after - before)) -le 1 ]; then ok "$name"; else not_ok "$name"; fi
wait "$holder"

echo "1..$((passed + failed))"
echo "# $passed passed, $failed failed"
[ $failed = 0 ]
