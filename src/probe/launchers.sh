# What recipes would run, as the launcher's own dry run prints it: one `recipe yes KEY COMMAND` or `recipe no KEY WHY` a line, and
# `recipe sets KEY NAME` for each variable that it sets itself. Which options sparkrun takes, as its help prints it: one
# `options yes PROGRAM OPTION,OPTION…` or `options no PROGRAM WHY` a line.
#   calls     of the functions below
say() { printf '%s\n' "$1"; }
#   dry_run KEY DIR NODES WORD...   NODES: `told` in the words, or `env` when only the launcher's own file can have them
dry_run() {
    key=$1 dir=$2 nodes=$3
    shift 3
    if [ "$nodes" = env ] && ! (cd && grep -q '^CLUSTER_NODES=.*,' "$dir/.env" 2>/dev/null); then
        # It would go and look for them, and ask.
        say "recipe no $key nothing names the Sparks for it: give them \`fabric\`, or CLUSTER_NODES in its .env"
        return
    fi
    said=$(cd && cd "$dir" && timeout -k 1 8 ./run-recipe.sh "$@" </dev/null 2>&1)
    # A command goes on over lines that end in a backslash.
    command=$(printf '%s\n' "$said" | sed -e ':a' -e '/\\$/{' -e 'N' -e 's/\\\n/ /' -e 'ta' -e '}' | grep -m 1 'vllm serve ' | cut -c 1-8000)
    if [ -n "$command" ]; then
        say "recipe yes $key $command"
        printf '%s\n' "$said" | sed -n 's/^ *export \([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' |
            while IFS= read -r name; do say "recipe sets $key $name"; done
    else
        say "recipe no $key $(printf '%s\n' "$said" | grep . | tail -n 1)"
    fi
}
#   help_of PROGRAM
help_of() {
    # It hides most of them otherwise, and folds its lines to the width of a terminal.
    program=$1
    case $program in /*) ;; *) program=./$program ;; esac
    said=$(cd && SPARKRUN_ADVANCED=1 COLUMNS=300 NO_COLOR=1 timeout -k 1 8 "$program" run --help </dev/null 2>&1)
    # Names stand at the left, before two spaces or the end; what is said of them may name others.
    options=$(printf '%s\n' "$said" | sed -n 's/^ \{1,6\}\(-.*\)/\1/p' | sed 's/  .*//' |
        grep -oE -e '--[a-z][a-z0-9-]*' | sort -u | tr '\n' ',')
    if [ -n "$options" ]; then
        say "options yes $1 ${options%,}"
    else
        say "options no $1 $(printf '%s\n' "$said" | grep . | tail -n 1)"
    fi
}
eval "$calls"
echo end
