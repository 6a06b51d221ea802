# How much memory is free: MemAvailable in KiB, one figure a line, every two seconds for as long as somebody reads it.
left=1800
while [ "$left" -gt 0 ]; do
    while read -r key value _; do
        case "$key" in MemAvailable:) printf '%s\n' "$value" || return ;; esac
    done </proc/meminfo
    left=$((left - 1))
    sleep 2
done
