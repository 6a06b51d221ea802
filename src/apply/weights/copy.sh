# A job: copy the files of a repository from the cache of this machine to others, and verify them there. Its last line tells
# what went wrong. What an interrupted one brought stays, and is not brought again.
#   folder       as the cache names it
#   hf_home      the cache here; empty: the usual place
#   margin_kib   what stays free on a disk there
#   targets      calls of `to` below
#   verifying    the text of verify.sh
progress="$PWD/progress"
[ -n "$hf_home" ] || hf_home="${HF_HOME:-$HOME/.cache/huggingface}"
from="$hf_home/hub/$folder"
reach="ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o StrictHostKeyChecking=accept-new"
gib() { awk -v kib="$1" 'BEGIN { printf "%.1f GiB", kib / 1048576 }'; }
command -v rsync >/dev/null 2>&1 || { echo "rsync is not there; install it"; return 1; }

#   to NAME ADDRESS USER HF_HOME   one machine
to() {
    name=$1 place=${3:+$3@}$2 there=$4
    remote() { $reach "$place" "$@" </dev/null 2>remote.log; }
    why() { tail -n 1 remote.log | tr -d '\000-\037' | cut -c 1-200; }
    # shellcheck disable=SC2016
    [ -n "$there" ] || there=$(remote 'printf %s "${HF_HOME:-$HOME/.cache/huggingface}"') || {
        echo "$name cannot be reached from here: $(why)"
        return 1
    }
    case "$there" in *[!A-Za-z0-9/_.+@=%-]*) echo "the cache of $name is in a place with an odd name"; return 1 ;; esac
    # Until it is verified, a look there takes it for a part.
    remote "mkdir -p '$there/hub/$folder' && : >'$there/hub/$folder/.unverified'" || { echo "cannot write $there on $name: $(why)"; return 1; }
    here_kib=$(du -skL "$from/blobs" | cut -f 1)
    there_kib=$(remote "du -skL '$there/hub/$folder/blobs' 2>/dev/null | cut -f 1")
    free_kib=$(remote "df -Pk '$there/hub'" | awk 'NR == 2 { print $4 }')
    if [ $((here_kib - ${there_kib:-0} + margin_kib)) -gt "${free_kib:-0}" ]; then
        echo "$(gib "$here_kib") are to come and $(gib "$margin_kib") stay free, but $(gib "${free_kib:-0}") are free on the disk of $name"
        return 1
    fi
    # Blobs before snapshots: what is linked there is whole. A link that leads out of the folder is copied as what it leads to.
    rsync -a --copy-unsafe-links --partial-dir=.partial --exclude '*.incomplete' --exclude '*.lock' --exclude .unverified --info=progress2 \
        -e "$reach" "$from/" "$place:$there/hub/$folder/" >rsync.out 2>rsync.log </dev/null &
    copying=$!
    while kill -0 "$copying" 2>/dev/null; do
        at=$(tail -c 200 rsync.out | tr '\r' '\n' | grep -oE '[0-9]+%' | tail -n 1)
        echo "copying to $name: ${at:-0%}" >"$progress"
        sleep 2
    done
    wait "$copying" || {
        code=$?
        echo "the copy to $name ended with $code: $(tail -n 1 rsync.log | tr -d '\000-\037' | cut -c 1-200)"
        return 1
    }
    echo "verifying on $name" >"$progress"
    said=$(printf 'progress=\n%s\nverify "$1" && rm -f "$1/.unverified"\n' "$verifying" | $reach "$place" "sh -s -- '$there/hub/$folder'" 2>remote.log) || {
        echo "$name: ${said:-$(why)}"
        return 1
    }
}
eval "$targets"
