# Read by the recipes: finds the program, and says what a recipe is about when asked with --help.
set -eu
recipe=$(basename "$0" .sh)
root=$(cd "$(dirname "$0")/../.." && pwd)
dd_cpu=${DD_CPU:-$root/dd-cpu}
case ${1:-} in
  -h | --help)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
# study DIR OPTION...: a part of the recipe; what the user gave comes last and wins
study() {
  local_dir=$1
  shift
  "$dd_cpu" compare -o "studies/$recipe/$local_dir" "$@"
}
