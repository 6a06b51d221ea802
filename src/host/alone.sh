# Ask what may never answer: a driver or a mount can keep a process for ever, and no signal ends it. Prints what it said, and
# `ended CODE`: 137 when it was killed, 75 when one that was asked before still hangs.
#   alone NAME SECONDS WORD...    Needs `$state`.
alone() {
    name=$1 secs=$2 hold=
    shift 2
    # One that cannot be killed keeps its lock: it is not asked again while it is there, or they would pile up.
    if (mkdir -p "$state/asking" && : >>"$state/asking/$name") 2>/dev/null && command -v flock >/dev/null; then
        hold="flock -n -E 75 $state/asking/$name"
        case "$state" in *[!A-Za-z0-9/._-]*) hold= ;; esac
    fi
    # `timeout` ends its whole group, itself too; the reader goes on without whoever is left.
    {
        $hold timeout -s KILL "$secs" "$@" </dev/null 2>&1
        printf '\nended %s\n' "$?"
    } 2>/dev/null | timeout $((secs + 1)) cat
}
