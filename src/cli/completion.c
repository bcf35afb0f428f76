/* Completion for bash, from the tables of commands and options; and which shells there are. */
#include "cli/options.h"
#include <string.h>

const char *const dd_completion_shells[] = {"bash", "zsh", "fish", NULL};

bool dd_completion(FILE *out, const char *shell) {
  static void (*const print[])(FILE *) = {dd_completion_bash, dd_completion_zsh, dd_completion_fish};
  for (int i = 0; dd_completion_shells[i]; i++)
    if (!strcmp(shell, dd_completion_shells[i])) return print[i](out), true;
  return false;
}

/* Words after the command, and how its values are found. The program's own words are not needed for that: the script
 * knows all of them and starts nothing. Bash splits words at '=' and ':', so they are put together again, and of what
 * is offered the part that bash would see twice is taken off. */
static const char bash_head[] =
  "# bash completion of dd-cpu, made by `dd-cpu completion bash`\n"
  "\n";
static const char bash_tail[] =
  "# The word before the cursor as it was typed into cur, all before it into args.\n"
  "_dd_cpu_split() {\n"
  "  local rest=${COMP_LINE:0:COMP_POINT} i word gap n=0\n"
  "  args=()\n"
  "  for ((i = 0; i < COMP_CWORD; i++)); do\n"
  "    word=${COMP_WORDS[i]}\n"
  "    gap=${rest%%\"$word\"*}\n"
  "    rest=${rest#*\"$word\"}\n"
  "    if ((n)) && [[ -z $gap ]]; then args[n - 1]+=$word; else args[n++]=$word; fi\n"
  "  done\n"
  "  cur=${rest#\"${rest%%[![:space:]]*}\"}\n"
  "  if ((n)) && [[ $cur == \"$rest\" ]]; then\n"
  "    cur=${args[n - 1]}$cur\n"
  "    unset 'args[n - 1]'\n"
  "  fi\n"
  "}\n"
  "\n"
  "# Offer the values of words, files and list (set by _dd_cpu_value) for $2; $1 stands before it in the same word.\n"
  "_dd_cpu_offer() {\n"
  "  local head=$1 part=$2 i strip=''\n"
  "  if [[ $list && $part == *,* ]]; then\n"
  "    head+=${part%,*},\n"
  "    part=${part##*,}\n"
  "  fi\n"
  "  if [[ $part == table:* && \" $words \" == *' table: '* ]]; then\n"
  "    head+=table:\n"
  "    part=${part#table:}\n"
  "    words='' files=f\n"
  "  fi\n"
  "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$part\")\n"
  "  if [[ $files ]]; then\n"
  "    compopt -o filenames 2>/dev/null\n"
  "    mapfile -t -O \"${#COMPREPLY[@]}\" COMPREPLY < <(compgen \"-$files\" -- \"$part\")\n"
  "  fi\n"
  "  if [[ $list || ${COMPREPLY[0]} == *[:=] ]]; then compopt -o nospace 2>/dev/null; fi\n"
  "  # what stands before the last character that splits words is not part of the answer\n"
  "  for ((i = ${#head}; i > 0; i--)); do\n"
  "    if [[ ${head:i-1:1} == [:=] && $COMP_WORDBREAKS == *\"${head:i-1:1}\"* ]]; then\n"
  "      strip=$i\n"
  "      break\n"
  "    fi\n"
  "  done\n"
  "  head=${head:${strip:-0}}\n"
  "  for i in \"${!COMPREPLY[@]}\"; do COMPREPLY[i]=$head${COMPREPLY[i]}; done\n"
  "}\n"
  "\n"
  "_dd_cpu() {\n"
  "  local cur args command option words files list options before i ended=''\n"
  "  _dd_cpu_split\n"
  "  COMPREPLY=()\n"
  "  command=${args[1]}\n"
  "  before=${args[${#args[@]} - 1]}\n"
  "  if ((${#args[@]} < 2)); then\n"
  "    words=\"$_dd_cpu_commands help man completion\"\n"
  "    [[ $cur == -* ]] && words='--help --version'\n"
  "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
  "    return\n"
  "  fi\n"
  "  case $command in\n"
  "  help | man)\n"
  "    ((${#args[@]} > 2)) || mapfile -t COMPREPLY < <(compgen -W \"$_dd_cpu_commands\" -- \"$cur\")\n"
  "    return ;;\n"
  "  completion)\n"
  "    ((${#args[@]} > 2)) || mapfile -t COMPREPLY < <(compgen -W \"$_dd_cpu_shells\" -- \"$cur\")\n"
  "    return ;;\n"
  "  --version | version)\n"
  "    mapfile -t COMPREPLY < <(compgen -W '--json' -- \"$cur\")\n"
  "    return ;;\n"
  "  esac\n"
  "  for ((i = 2; i < ${#args[@]}; i++)); do\n"
  "    [[ ${args[i]} == -- ]] && ended=1\n"
  "  done\n"
  "  if [[ ! $ended ]]; then\n"
  "    if [[ $cur == --*=* ]]; then\n"
  "      option=${cur%%=*}\n"
  "      _dd_cpu_value \"$command\" \"${option//_/-}\" inline && _dd_cpu_offer \"$option=\" \"${cur#*=}\"\n"
  "      return\n"
  "    fi\n"
  "    if [[ $before == -* && $before != *=* ]] && _dd_cpu_value \"$command\" \"${before//_/-}\" ''; then\n"
  "      _dd_cpu_offer '' \"$cur\"\n"
  "      return\n"
  "    fi\n"
  "    if [[ $cur == -* ]]; then\n"
  "      _dd_cpu_options \"$command\"\n"
  "      if [[ $cur == *_* ]]; then\n" /* the other spelling of every name */
  "        options=${options//-/_}\n"
  "        options=\" $options\"\n"
  "        options=${options// __/ --}\n"
  "      fi\n"
  "      mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
  "      return\n"
  "    fi\n"
  "  fi\n"
  "  _dd_cpu_value \"$command\" '' '' && _dd_cpu_offer '' \"$cur\"\n"
  "}\n"
  "complete -F _dd_cpu dd-cpu\n";

/* `--threads | -t`: every spelling of an option, with dashes. */
static void bash_names(FILE *out, const dd_option *o) {
#define ALIAS_ROW(other, name) {other, name},
  static const dd_pair aliases[] = {DD_SETTING_ALIASES(ALIAS_ROW)};
  fprintf(out, "--%s", o->name);
  if (o->letter) fprintf(out, " | -%c", o->letter);
  for (size_t i = 0; o->setting && i < sizeof aliases / sizeof *aliases; i++) {
    if (strcmp(aliases[i].right, o->setting->name)) continue;
    fputs(" | --", out);
    for (const char *p = aliases[i].left; *p; p++) fputc(*p == '_' ? '-' : *p, out);
  }
}

static void bash_values(FILE *out, const dd_values *v) {
  if (*v->words) fprintf(out, " words='%s'", v->words);
  if (v->files || v->dirs) fprintf(out, " files=%c", v->files ? 'f' : 'd');
  if (v->list) fputs(" list=1", out);
  fputs(" ;;\n", out);
}

static bool has_values(const dd_values *v) { return *v->words || v->files || v->dirs; }

/* One arm for the options of a command that take a value about which nothing is known, or that are flags. */
static void bash_arm(FILE *out, const dd_command *k, bool flags) {
  const char *between = "    ";
  bool any = false;
  for (dd_option o = {0}; dd_option_next(k, &o);) {
    if (!o.setting || o.no || o.takes_value == flags || (o.takes_value && has_values(&o.values))) continue;
    fputs(between, out);
    bash_names(out, &o);
    between = " | ";
    any = true;
  }
  if (any) fputs(flags ? ") words='true false' && [[ $3 ]] ;;\n" : ") ;;\n", out);
}

/* The arms of one command: values that are known, values that are not, flags. */
static void bash_command_values(FILE *out, const dd_command *k) {
  dd_values v;
  fprintf(out, "  %s)\n    case $2 in\n", k->name);
  for (dd_option o = {0}; dd_option_next(k, &o);) {
    if (!o.takes_value || !has_values(&o.values)) continue;
    fputs("    ", out);
    bash_names(out, &o);
    fputc(')', out);
    bash_values(out, &o.values);
  }
  bash_arm(out, k, false);
  bash_arm(out, k, true);
  if (k->positional) {
    dd_option_values(dd_setting_at((int)k->positional_id), &v);
    if (k->many == ',') v.list = false; /* with spaces between, each completed by itself */
    fputs("    '')", out);
    bash_values(out, &v);
  }
  fputs("    *) return 1 ;;\n    esac ;;\n", out);
}

static void bash_command_options(FILE *out, const dd_command *k) {
  const char *between = "";
  fprintf(out, "  %s) options='", k->name);
  for (dd_option o = {0}; dd_option_next(k, &o); between = " ") fprintf(out, "%s--%s", between, o.name);
  fputs("' ;;\n", out);
}

void dd_completion_bash(FILE *out) {
  const dd_command *k;
  fputs(bash_head, out);
  fputs("_dd_cpu_commands='", out);
  for (int i = 0; (k = dd_command_at(i)); i++) fprintf(out, "%s%s", i ? " " : "", k->name);
  fputs("'\n_dd_cpu_shells='", out);
  for (int i = 0; dd_completion_shells[i]; i++) fprintf(out, "%s%s", i ? " " : "", dd_completion_shells[i]);
  fputs("'\n\n# Options of command $1 into options.\n_dd_cpu_options() {\n  options=''\n  case $1 in\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) bash_command_options(out, k);
  fputs("  esac\n}\n\n"
        "# What can be the value of option $2 ('': the argument) of command $1; $3: it is given after '='. Fails for\n"
        "# an option without a value.\n"
        "_dd_cpu_value() {\n  words='' files='' list=''\n  case $1 in\n", out);
  for (int i = 0; (k = dd_command_at(i)); i++) bash_command_values(out, k);
  fputs("  *) return 1 ;;\n  esac\n}\n\n", out);
  fputs(bash_tail, out);
}
