# Everything about one machine in one round trip. Changes nothing. One `key value` a line. What a machine has no program
# to tell is left out.
#   cluster   whose jobs and token to read
#   paths     directories to look for, one a line
#   caches    calls of `cached` (`host/cached.sh`)
#   launchers directories of launchers, one a line
#   programs  files that must be there and can be run, one a line
#   entries   calls of `entry` below
#   hf_home   the Hugging Face cache; empty: the usual place
# Who asked has long given up by then: what hangs here must not pile up, look after look. The whole group, because what
# hangs is a child; it is this program's own, over SSH and here (`host/local.rs`).
(trap 'kill "$nap"; exit' TERM; sleep 25 & nap=$!; wait "$nap" && kill -KILL 0) >/dev/null 2>&1 </dev/null &
watch=$!
trap 'kill "$watch" 2>/dev/null' EXIT
# What others wrote is printed as it is: some shells read escapes in the words of `echo`.
say() { printf '%s\n' "$1"; }
state="${XDG_STATE_HOME:-$HOME/.local/state}/spark-control/$cluster"
[ -n "$hf_home" ] || hf_home="${HF_HOME:-$HOME/.cache/huggingface}"
read -r boot </proc/sys/kernel/random/boot_id
echo "boot $boot"
read -r uptime _ </proc/uptime
echo "uptime ${uptime%.*}"
while read -r key value _; do
    case "$key" in
    MemTotal:) echo "memory_total_kib $value" ;;
    MemAvailable:) echo "memory_available_kib $value" ;;
    SwapTotal:) echo "swap_total_kib $value" ;;
    SwapFree:) echo "swap_free_kib $value" ;;
    esac
done </proc/meminfo
read -r kernel </proc/sys/kernel/osrelease && echo "kernel $kernel"
pgrep -x earlyoom >/dev/null 2>&1 && echo "earlyoom yes"
if ports=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { sub(".*:", "", $2); print $2 }'); then
    echo "listening" $ports
fi
ip -d -o link show 2>/dev/null | while read -r _ name rest; do
    case "$name" in lo:) continue ;; esac
    name=${name%:} speed=-
    read -r speed 2>/dev/null <"/sys/class/net/${name%@*}/speed" || speed=-
    say "link ${name%@*} ${speed:--} $rest"
done
ip -4 -o addr show 2>/dev/null | while read -r _ name _ address _; do
    case "$name" in lo) ;; *) echo "address $name ${address%/*}" ;; esac
done
if gpu=$(timeout 5 nvidia-smi --query-gpu=name,driver_version,temperature.gpu,power.draw,utilization.gpu,clocks.sm \
    --format=csv,noheader,nounits 2>/dev/null); then
    say "gpu $gpu"
    timeout 5 nvidia-smi --query-compute-apps=pid,process_name,used_gpu_memory --format=csv,noheader,nounits \
        2>/dev/null | while IFS= read -r line; do
        container=
        while IFS= read -r group; do
            group=${group##*/} group=${group#docker-} group=${group%.scope}
            [ ${#group} -eq 64 ] && container=$group
        done 2>/dev/null <"/proc/${line%%,*}/cgroup"
        say "gpu_process ${container:--} $line"
    done
fi
printf '%s\n' "$paths" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    if [ -d "$path" ]; then echo "path yes $path"; else echo "path no $path"; fi
done
printf '%s\n%s\n' "$paths" "$hf_home" | while IFS= read -r path; do [ ! -d "$path" ] || printf '%s\0' "$path"; done |
    xargs -0 -r stat -f -c 'disk %S %b %a %n' 2>/dev/null
eval "$caches"
printf '%s\n' "$launchers" | (cd && while IFS= read -r dir; do
    [ -n "$dir" ] || continue
    if [ ! -r "$dir/launch-cluster.sh" ]; then
        say "launcher missing - $dir"
        continue
    fi
    # Options that came and went with the years, where its own parser names them: it has no version to ask for.
    options=$(grep -oE -e '--(solo|config|launch-script|no-ray|ray|master-port)[|)]' "$dir/launch-cluster.sh" |
        tr -d '|)' | sort -u | tr '\n' ,)
    nodes=$(sed -n 's/^CLUSTER_NODES=//p' "$dir/.env" 2>/dev/null | tail -n 1 | tr -cd '0-9.,')
    case "$nodes" in *,*) is="nodes:$nodes" ;; *) is=alone ;; esac
    echo "launcher $is ${options:--} $dir"
done)
printf '%s\n' "$programs" | (cd && while IFS= read -r program; do
    [ -n "$program" ] || continue
    if [ -f "$program" ] && [ -x "$program" ]; then echo "program yes $program"; else echo "program no $program"; fi
done)
#   entry KEY PATH...   a file or directory that is at one of these places
entry() {
    key=$1 is=no
    shift
    for path; do if (cd && [ -e "$path" ]); then is=yes; fi; done
    echo "entry $is $key"
}
eval "$entries"
if [ -r "$state/token" ]; then
    read -r epoch sequence controller <"$state/token"
    echo "token $epoch.$sequence.$controller"
fi
jobs
echo end
