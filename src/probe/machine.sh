# Everything about one machine in one round trip. Changes nothing. One `key value` a line.
#   cluster   whose jobs and token to read
#   paths     directories to look for, one a line
#   launchers directories of launchers, one a line
state="${XDG_STATE_HOME:-$HOME/.local/state}/spark-control/$cluster"
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "uptime $(cut -d . -f 1 /proc/uptime)"
while read -r key value _; do
    case "$key" in
    MemTotal:) echo "memory_total_kib $value" ;;
    MemAvailable:) echo "memory_available_kib $value" ;;
    esac
done </proc/meminfo
if gpu=$(timeout 5 nvidia-smi --query-gpu=name,driver_version,temperature.gpu,power.draw,utilization.gpu \
    --format=csv,noheader,nounits 2>/dev/null); then
    echo "gpu $gpu"
    timeout 5 nvidia-smi --query-compute-apps=pid,process_name,used_gpu_memory --format=csv,noheader,nounits \
        2>/dev/null | while IFS= read -r line; do echo "gpu_process $line"; done
fi
printf '%s\n' "$paths" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    if [ -d "$path" ]; then echo "path yes $path"; else echo "path no $path"; fi
done
printf '%s\n' "$launchers" | (cd && while IFS= read -r dir; do
    [ -n "$dir" ] || continue
    if [ ! -r "$dir/launch-cluster.sh" ]; then is=missing
    elif grep -q '^CLUSTER_NODES=.*,' "$dir/.env" 2>/dev/null; then is=nodes
    else is=alone; fi
    echo "launcher $is $dir"
done)
if [ -r "$state/token" ]; then
    read -r epoch sequence controller <"$state/token"
    echo "token $epoch.$sequence.$controller"
fi
boot=$(cat /proc/sys/kernel/random/boot_id)
for dir in "$state"/jobs/*/; do
    [ -r "$dir/token" ] || continue
    if [ -r "$dir/status" ]; then
        is="exited:$(cat "$dir/status")"
    elif [ -r "$dir/pid" ] && read -r pid start <"$dir/pid" && [ "$(cat "$dir/boot")" = "$boot" ] &&
        alive "$pid" "$start"; then
        is=running
    else
        is=lost
    fi
    id=$(basename "$dir")
    echo "job $id $is $(cat "$dir/token") $(cat "$dir/started") $(cat "$dir/spec") $(cat "$dir/object")"
    [ "$is" = running ] || echo "job_said $id $(tail -n 1 "$dir/log" 2>/dev/null | tr -d '\000-\037' | cut -c 1-300)"
done
echo end
