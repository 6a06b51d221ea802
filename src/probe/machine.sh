# Everything about one machine in one round trip. Changes nothing but the locks of what is asked. One `key value` a line. What a
# machine has no program to tell is left out; `unanswered QUESTION` is what was asked and did not answer in time.
#   cluster    whose jobs and token to read
#   look       `look.sh` with what it needs, and its parameters
#   questions  calls of `ask` below
# Who asked has long given up by then: what hangs here must not pile up, look after look. The whole group, because what
# hangs is a child; it is this program's own, over SSH and here (`host/local.rs`).
(trap 'kill "$nap"; exit' TERM; sleep 25 & nap=$!; wait "$nap" && kill -KILL 0) >/dev/null 2>&1 </dev/null &
watch=$!
trap 'kill "$watch" 2>/dev/null' EXIT
# What others wrote is printed as it is: some shells read escapes in the words of `echo`.
say() { printf '%s\n' "$1"; }

#   ask QUESTION WORD...    a function of `look.sh`; all of them at the same time
asked=
ask() {
    (
        of=$(printf '%s/' "$@" | cksum)
        said=$(alone "${of%% *}" 8 sh -c "$look" look "$@")
        case "$said" in
        *"
ended 0")
            # Line by line: what is longer than a pipe takes at once would be torn by what others say.
            printf '%s\n' "${said%
ended 0}" | while IFS= read -r line; do [ -z "$line" ] || say "$line"; done
            ;;
        *) say "unanswered $1 $2" ;;
        esac
    ) &
    asked="$asked $!"
}
ask gpu
ask hub
eval "$questions"

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
while read -r file kind _; do
    case "$kind" in file) say "swap_file $(stat -c %d -- "$file" 2>/dev/null) $file" ;; esac
done </proc/swaps
# What logind does when the last session of this user ends: its own default, then its files, the last of which wins.
if [ -d /run/systemd/system ] && [ "$(id -u)" -ge 1000 ]; then
    removes=$(cat /usr/lib/systemd/logind.conf.d/*.conf /etc/systemd/logind.conf /etc/systemd/logind.conf.d/*.conf 2>/dev/null |
        sed -n 's/^ *RemoveIPC *= *//p' | tail -n 1)
    case "$removes" in no | false | off | 0) echo "removes_ipc no" ;; *) echo "removes_ipc yes" ;; esac
    if [ -e "/var/lib/systemd/linger/$(id -un)" ]; then echo "lingers yes"; else echo "lingers no"; fi
fi
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
if [ -r "$state/token" ]; then
    read -r epoch sequence controller <"$state/token"
    echo "token $epoch.$sequence.$controller"
fi
jobs
# Not for the watch.
[ -z "$asked" ] || wait $asked
echo end
