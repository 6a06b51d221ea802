# The jobs of the user in whose session this runs, or the log of one. Changes nothing.
#   cluster   whose jobs
#   job       whose log to print; empty: all jobs
#   lines     of it, the last
say() { printf '%s\n' "$1"; }
if [ -n "$job" ]; then
    [ ! -r "$state/jobs/$job/log" ] || tail -n "$lines" "$state/jobs/$job/log"
    echo end
    return 0
fi
read -r boot </proc/sys/kernel/random/boot_id
jobs
echo end
