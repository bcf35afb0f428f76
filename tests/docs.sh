#!/bin/bash
# Manual pages and completion, as they are installed: that they are there and well-formed, name every option of every
# command, and that real shells (bash, zsh, fish) complete with them.
#   docs.sh PATH-OF-DD-CPU
set -u
bin=$(realpath "${1:?usage: docs.sh PATH-OF-DD-CPU}")
if ! "$bin" --version >/dev/null 2>&1; then
  echo "skipped: $bin cannot be run on this machine"
  exit 77
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dd-docs.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
export HOME=$tmp XDG_CONFIG_HOME=$tmp/config XDG_DATA_HOME=$tmp/data XDG_CACHE_HOME=$tmp/cache LC_ALL=C.UTF-8 NO_COLOR=1
unset MANROFFOPT MANOPT

passed=0 failed=0
check() { # check NAME CONDITION...
  local name=$1
  shift
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: $name"
  fi
}
is() { # is NAME WANTED FOUND
  if [ "$2" = "$3" ]; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    printf 'FAILED: %s\n    wanted: %s\n    found:  %s\n' "$1" "$2" "$3"
  fi
}
empty() { is "$1" '' "$2"; }
skip() { echo "skipped: $1 is not installed"; }

commands=$("$bin" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]\{1,\}\) .*/\1/p')
options() { "$bin" "$1" --help | sed -n 's/^  \(-., \|    \)--\(\[no-\]\)\{0,1\}\([a-z0-9-]*\).*/\3/p'; }
check 'there are commands' [ "$(echo "$commands" | wc -l)" -ge 10 ]
check 'there are options' [ "$(options train | wc -l)" -ge 60 ]

# ---- version ----
is 'first line of --version' 'dd-cpu 0 (numerics 0)' "$("$bin" --version | sed -n '1s/[0-9][0-9.]*/0/gp')"
for fact in compiler tiers xxHash jansson libnuma; do
  check "--version tells $fact" grep -q "$fact" <("$bin" --version)
done
if command -v python3 >/dev/null; then
  is '--version --json' "$("$bin" --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" \
    "$("$bin" --version --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["version"])')"
else skip python3; fi
"$bin" --version nonsense >/dev/null 2>err
is '--version with nonsense' 2 $?
"$bin" completion fihs >/dev/null 2>err
is 'an unknown shell' 2 $?
check 'an unknown shell: suggestion' grep -q "did you mean 'fish'" err
"$bin" man trian >/dev/null 2>err
is 'a manual of nothing' 2 $?
"$bin" man --write /dev/null/x 2>err
is 'pages that cannot be written' 74 $?

# ---- manual pages ----
check 'pages are written' "$bin" man --write man1
is 'pages' "$(for c in $commands; do echo "dd-cpu-$c.1"; done | sort; echo dd-cpu.1)" \
  "$(cd man1 && for p in dd-cpu-*.1 dd-cpu.1; do echo "$p"; done | sort | grep -v '^dd-cpu.1$'; echo dd-cpu.1)"
is 'man COMMAND prints the same' "$(cat man1/dd-cpu-train.1)" "$("$bin" man train)"
if command -v mandoc >/dev/null; then
  empty 'mandoc -Tlint' "$(mandoc -Tlint -Wstyle man1/*.1 2>&1)"
else skip mandoc; fi
# minimal systems have a `man` that only says that there are no pages
if [ -x "$(command -v groff)" ] && man --warnings -l man1/dd-cpu.1 2>/dev/null | grep -q NAME; then
  empty 'man --warnings' "$(for p in man1/*.1; do
    MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$p" 2>&1 >/dev/null
  done)"
  for c in $commands; do
    MANWIDTH=300 man -l "man1/dd-cpu-$c.1" 2>/dev/null >page
    missing=$(for o in $(options "$c"); do grep -Eq -- "^ +(-., )?--(\[no-\])?$o(=| |\$)" page || echo "$o"; done)
    empty "options in the page of $c" "$missing"
    missing=$(for s in NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' ENVIRONMENT EXAMPLES 'SEE ALSO'; do
      grep -qx "$s" page || echo "$s"
    done)
    empty "sections of $c" "$missing"
  done
  is 'widest line of 80 columns' '' "$(MANWIDTH=80 man -l man1/dd-cpu-train.1 2>/dev/null | grep -E '.{90}')"
else skip 'man (man-db with groff)'; fi

# ---- a place with files ----
mkdir -p 'a dir/sub' runs/one
echo 'key = 1' >book.txt
echo '0, 0.1' >rates.csv

# ---- bash: the function as bash calls it ----
"$bin" completion bash >completion.bash
cat >ask.bash <<'END'
source ./completion.bash
# what readline would pass: the line cut at spaces and at the characters of COMP_WORDBREAKS
ask() {
  local rest=$1 word
  COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
  while [[ -n $rest ]]; do
    if [[ $rest =~ ^[[:space:]]+ ]]; then
      rest=${rest:${#BASH_REMATCH[0]}}
      [[ $rest ]] || COMP_WORDS+=('')
    elif [[ $rest =~ ^[=:]+ || $rest =~ ^[^=:[:space:]]+ ]]; then
      word=${BASH_REMATCH[0]}
      COMP_WORDS+=("$word")
      rest=${rest:${#word}}
    fi
  done
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _dd_cpu
  printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
}
while IFS= read -r line; do ask "$line"; echo; done
END
bash_answers() { printf '%s\n' "$1" | bash --norc ask.bash 2>&1 | sed 's/ *$//'; }
says() { is "bash: $1" "$2" "$(bash_answers "$1")"; }
check 'bash: the script is bash' bash -n completion.bash
says 'dd-cpu tra' 'train'
says './dd-cpu ver' 'verify'
says 'dd-cpu --v' '--version'
says 'dd-cpu help comp' 'compare'
says 'dd-cpu completion ' 'bash fish zsh'
says 'dd-cpu train --schedule co' 'cosine'
says 'dd-cpu train --schedule=co' 'cosine'
says 'dd-cpu train --schedule ste' 'steps:'
says 'dd-cpu train --schedule table:ra' 'rates.csv'
says 'dd-cpu train --schedule=table:ra' 'rates.csv'
says 'dd-cpu train --preset ' 'gpt2 nanogpt paper small tiny'
says 'dd-cpu bench --preset paper,s' 'paper,small'
says 'dd-cpu bench --preset=paper,s' 'paper,small'
says 'dd-cpu bench sc' 'scaling schedules'
says 'dd-cpu compare --schedules fixed,ex' 'fixed,exponential fixed,expr:'
says 'dd-cpu compare --grid n_la' 'n_layer='
says 'dd-cpu train --data s' 'shakespeare'
says 'dd-cpu train --data b' 'book.txt'
says 'dd-cpu train --dataset b' 'book.txt'
says 'dd-cpu train --config bo' 'book.txt'
says 'dd-cpu sample ru' 'runs'
says 'dd-cpu sample runs/' 'runs/one'
says 'dd-cpu report --plots ' 'a dir man1 runs'
says 'dd-cpu sample x --weights ' 'bf16 f32 int8'
says 'dd-cpu train --n-lay' '--n-layer'
says 'dd-cpu train --n_lay' '--n_layer'
says 'dd-cpu train --n-layer ' ''
says 'dd-cpu train --bias ' ''
says 'dd-cpu train --bias=t' 'true'
says 'dd-cpu train -t ' ''
says 'dd-cpu train -o ru' 'runs'
says 'dd-cpu train --color ' 'always auto never'
says 'dd-cpu report --format ' 'csv html json md tsv'
says 'dd-cpu sample -- ru' 'runs'
says 'dd-cpu nonsense --' ''
for c in $commands; do
  is "bash: options of $c" "$(options "$c" | sed 's/^/--/' | sort)" \
    "$(bash_answers "dd-cpu $c --" | tr ' ' '\n' | grep -vx -- '--no-.*' | sort)"
done
if command -v shellcheck >/dev/null; then
  check 'bash: shellcheck' shellcheck -s bash completion.bash
else skip shellcheck; fi

# ---- zsh: a shell on a terminal of its own ----
"$bin" completion zsh >_dd-cpu
if command -v zsh >/dev/null; then
  check 'zsh: the script is zsh' zsh -n _dd-cpu
  cat >ask.zsh <<'END'
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; PROMPT=; setopt no_beep no_list_beep; fpath=($PWD $fpath)'
zpty -w z 'autoload -Uz compinit && compinit -u -d $PWD/zcompdump; zstyle ":completion:*" list-prompt ""'
# candidates are not shown but written down
zpty -w z 'compadd() { local -a got; builtin compadd -O got "$@"; print -rn -- " $got" >>answer; builtin compadd "$@" }'
zpty -w z 'ask() { zle complete-word; print >>answer; zle kill-buffer; print -n >done }'
zpty -w z 'zle -N ask; bindkey "^X" ask; print -n >done'
wait_for() {
  local i
  for ((i = 0; i < 400; i++)); do
    [[ -e done ]] && { rm -f done; return }
    zpty -r -t z shown
    sleep 0.05
  done
  print 'no answer'
}
wait_for
while IFS= read -r line; do
  rm -f answer
  zpty -n -w z "$line"$'\C-x'
  wait_for
  print -r -- ${(ou)=$(<answer)}
done
END
  while IFS='|' read -r line wanted found; do is "zsh: $line" "$wanted" "$found"; done < <(
    cat >lines <<'END'
dd-cpu tra|train
dd-cpu sam|sample
dd-cpu train --schedule co|cosine
dd-cpu train --schedule=co|cosine
dd-cpu train --preset |gpt2 nanogpt paper small tiny
dd-cpu compare --schedules fixed,co|cosine
dd-cpu sample x --weights |bf16 f32 int8
dd-cpu train --config bo|book.txt
dd-cpu train --data sh|shakespeare
dd-cpu train --n-lay|--n-layer
dd-cpu completion z|zsh
dd-cpu bench sca|scaling
END
    cut -d'|' -f1 lines | zsh -f ask.zsh >answers 2>&1
    paste -d'|' lines answers)
  for c in $commands; do
    missing=$(for o in $(options "$c"); do
      sed -n "/^    ($c)\$/,/ ;;\$/p" _dd-cpu | grep -Eq -- "--$o(=|\\[|\\})" || echo "$o"
    done)
    empty "zsh: options of $c" "$missing"
  done
else skip zsh; fi

# ---- fish ----
"$bin" completion fish >dd-cpu.fish
if command -v fish >/dev/null; then
  check 'fish: the script is fish' fish -n dd-cpu.fish
  answers() {
    fish --no-config -c "source dd-cpu.fish; complete -C '$1'" 2>&1 | cut -f1 | sort -u | tr '\n' ' ' | sed 's/ $//'
  }
  says() { is "fish: $1" "$2" "$(answers "$1")"; }
  says 'dd-cpu tra' 'train'
  says 'dd-cpu train --schedule cosi' 'cosine'
  says 'dd-cpu train --preset ' 'gpt2 nanogpt paper small tiny'
  says 'dd-cpu compare --schedules fixed,cosi' 'fixed,cosine'
  says 'dd-cpu sample x --weights ' 'bf16 f32 int8'
  says 'dd-cpu train --config boo' 'book.txt'
  says 'dd-cpu train --n-lay' '--n-layer'
  says 'dd-cpu completion z' 'zsh'
  for c in $commands; do
    is "fish: options of $c" "$(options "$c" | sed 's/^/--/' | sort)" \
      "$(answers "dd-cpu $c --" | tr ' ' '\n' | sed 's/=$//' | grep -vx -- '--no-.*' | sort)"
  done
else skip fish; fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
