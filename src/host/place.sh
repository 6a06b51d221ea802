# Where this cluster keeps what it knows on this machine, in `$state`. A home that several machines share has a place for each:
# the first to act there has the folder itself, and says so in `machine`. Parameters: `cluster`, and `claims` of who acts.
state="${XDG_STATE_HOME:-$HOME/.local/state}/spark-control/$cluster"
machine=""
owner=""
read -r machine </etc/machine-id || machine=$(uname -n)
if [ -n "$claims" ] && [ ! -e "$state/machine" ]; then
    # Never over what another machine wrote meanwhile.
    (mkdir -p "$state" && set -C && printf '%s\n' "$machine" >"$state/machine") 2>/dev/null
fi
[ ! -r "$state/machine" ] || read -r owner <"$state/machine"
[ -z "$owner" ] || [ "$owner" = "$machine" ] || state="$state/machines/$machine"
