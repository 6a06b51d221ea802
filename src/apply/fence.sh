# The one program that changes anything on a Spark. Parameters are variables set above this text:
#   cluster epoch sequence controller   who acts (the token)
#   socket                              of the Docker Engine
#   act                                 advance | check | stop | start | end-job | launch | delete
#   environment environment_file forget lines to bring, where to, and for how many seconds at most
#   drop_caches                         of launch and advance: not empty to drop the kernel's cache of files first
#   expect_boot                         the boot this decision was made on
#   expect_before                       seconds of uptime after which this message is too old
#   expect_free                         a container name that nothing may have
#   words memory_kib                   of a check: the end of its `docker run`, quoted, and what must be free for it
#   hf_home folder                      of a delete: the cache, and what of it
#   own_dir own_program name            of a stop: the owner's program that goes first, and the container's name for it
#   expect_memory_kib                   what must be free
#   expect_image expect_image_id        an image reference, and the image that it must name
# and those of the act. An empty expectation is none. Under the lock of this cluster it compares the token, checks what the
# step expects, acts, and appends a line to the audit log. The last line on stdout is `outcome WORD [DETAIL]`:
#   done | already                      it is so now
#   said WORDS                          it is so now, or was asked, and there is something to say of it
#   refused DETAIL | fenced TOKEN       nothing was tried
#   failed DETAIL                       it was tried
#   unknown DETAIL                      it may still happen
# A parameter that is misspelt ends it, rather than being an empty expectation.
set -u
umask 077
# A hanging Engine must not keep the lock.
engine() { timeout -k 5 20 docker "$@"; }
seconds() { cut -d . -f 1 /proc/uptime; }
[ -z "$socket" ] || { DOCKER_HOST="unix://$socket" && export DOCKER_HOST; }
mkdir -p "$state/jobs" || { echo "outcome refused cannot write the state directory ($state)"; return 0; }
exec 9>"$state/lock" || { echo "outcome refused cannot write the state directory ($state)"; return 0; }
flock -w 20 9 || { echo "outcome refused another act held the lock for 20 s"; return 0; }

# One generation back is kept.
[ "$(wc -c 2>/dev/null <"$state/audit.log" || echo 0)" -lt 4000000 ] || mv "$state/audit.log" "$state/audit.log.1"
say() {
    printf '%s %s.%s.%s %s %s -> %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$epoch" "$sequence" "$controller" \
        "$act" "${container:-${job:-}}" "$1" >>"$state/audit.log"
    printf 'outcome %s\n' "$1"
}

# Older than, or from another controller of, the epoch seen last: this message comes too late.
if [ -e "$state/token" ]; then
    read -r seen_epoch seen_sequence seen_controller <"$state/token"
    case "$seen_epoch:$seen_sequence" in
    *[!0-9:]* | :* | *:) say "refused $state/token cannot be read; who acted last is not known"; return 0 ;;
    esac
    if [ "$epoch" -lt "$seen_epoch" ] ||
        { [ "$epoch" -eq "$seen_epoch" ] && [ "$controller" != "$seen_controller" ]; }; then
        say "fenced $seen_epoch.$seen_sequence.$seen_controller"
        return 0
    fi
    if [ "$epoch" -eq "$seen_epoch" ] && [ "$sequence" -le "$seen_sequence" ]; then
        say "refused a newer message was seen ($seen_epoch.$seen_sequence)"
        return 0
    fi
fi
printf '%s %s %s\n' "$epoch" "$sequence" "$controller" >"$state/token.new" && sync "$state/token.new" &&
    mv "$state/token.new" "$state/token" || { say "refused cannot write the token"; return 0; }

boot=$(cat /proc/sys/kernel/random/boot_id)
if [ -n "$expect_boot" ] && [ "$expect_boot" != "$boot" ]; then
    say "refused restarted since"
    return 0
fi
if [ -n "$expect_before" ] && [ "$(seconds)" -gt "$expect_before" ]; then
    say "refused it comes too late"
    return 0
fi

# Lines for the container's environment: in memory, for nobody else to read, and gone by themselves.
if [ -n "$environment" ]; then
    new=$(mktemp /dev/shm/spark-control.XXXXXX) && printf '%s' "$environment" >"$new" && mv -f "$new" "$environment_file" ||
        { say "refused cannot write $environment_file"; return 0; }
    setsid sh -c 'sleep "$1"; rm -f "$2"' forget "$forget" "$environment_file" >/dev/null 2>&1 </dev/null 9>&- &
fi

# Prints true or false for a container that is there, nothing for one that is not; fails when Docker does.
running() {
    # It may vanish between the two questions; then the first is asked once more.
    for _ in 1 2; do
        ids=$(engine container ls -aq --no-trunc --filter "id=$1") || return 1
        [ -n "$ids" ] || return 0
        ! engine container inspect --format '{{.State.Running}}' "$1" 2>/dev/null || return 0
    done
    return 1
}

if [ -n "$expect_free" ]; then
    taken=$(engine container ls -aq --filter "name=^/$expect_free\$") || { say "refused Docker did not answer"; return 0; }
    if [ -n "$taken" ]; then say "refused there is a container $expect_free"; return 0; fi
fi
if [ -n "$expect_image_id" ]; then
    image_id=$(engine image inspect --format '{{.Id}}' "$expect_image" 2>/dev/null)
    if [ "$image_id" != "$expect_image_id" ]; then
        say "refused $expect_image is not the image any more that it was"
        return 0
    fi
fi

# The look that this was decided on is seconds old, and for a launch over several machines longer.
available_kib() {
    free=0
    while read -r key value _; do case "$key" in MemAvailable:) free=$value ;; esac; done </proc/meminfo
    echo "$free"
}
if [ -n "$expect_memory_kib" ] && [ "$(available_kib)" -lt "$expect_memory_kib" ]; then
    say "refused only $(($(available_kib) / 1048576)) GiB of memory are free now, and $((expect_memory_kib / 1048576)) are needed"
    return 0
fi

# Only what one line in sudoers allows; a model is loaded without it too. Prints why not.
drop() {
    [ -n "$drop_caches" ] || return 0
    echo 1 | timeout -k 5 30 sudo -n /usr/bin/tee /proc/sys/vm/drop_caches >/dev/null 2>"$state/err.drop" 9>&- ||
        printf 'said the cache of files could not be dropped: %s' "$(tail -n 1 "$state/err.drop" | tr -d '\000-\037' | cut -c 1-200)"
}

# Nothing but the token, the environment and the cache of files.
advance() {
    kept=$(drop)
    say "${kept:-done}"
}

# Ask the engine itself, in a container that is gone after it. Its words take the place of its arguments.
# shellcheck disable=SC2120
check() {
    # Short-lived, without GPU or network, and limited: it must not take from what serves.
    if [ "$(available_kib)" -lt "$memory_kib" ]; then say "said unknown too little memory is free for it"; return 0; fi
    eval "set -- $words"
    # It changes nothing that another act would meet.
    flock -u 9
    # Not after the slot's container: launchers look for that name inside others.
    name="spark-control-check-$epoch.$sequence"
    # On a machine that serves meanwhile, its imports alone take more than a minute.
    said=$({
        timeout -k 5 300 docker run --rm --name "$name" --network none --memory 4g --memory-swap 4g --pids-limit 512 \
            --label "spark-control.check=$cluster" "$@" 2>&1 </dev/null 9>&-
        printf '\nended %s\n' "$?"
    } | tail -c 65536 | tr -d '\000-\011\013-\037')
    engine container rm --force "$name" >/dev/null 2>&1
    answer=$(printf '%s\n' "$said" | sed -n 's/^arguments {/{/p' | tail -n 1 | cut -c 1-1000)
    case "${said##*ended }:$answer" in
    *:?*) say "said $answer" ;;
    124:*) say "said unknown the engine did not answer within 300 s" ;;
    137:*) say "said unknown it was ended, perhaps because it took more than 4 GiB of memory" ;;
    *) say "said unknown it ended with ${said##*ended }: $(printf '%s\n' "$said" | grep -v -e '^$' -e '^ended ' | tail -n 1 | cut -c 1-200)" ;;
    esac
}

# A container ends, and goes when it is to.
stop() {
    is=$(running "$container") || { say "refused Docker did not answer"; return 0; }
    if [ -z "$is" ]; then say already; return 0; fi
    # What the owner's own program leaves running is stopped all the same, whatever it says.
    if [ "$is" = true ] && [ -n "$own_program" ]; then
        (cd && cd "$own_dir" && SPARK_CONTROL_CONTAINER="$name" timeout -k 5 55 "./$own_program") \
            >"$state/stop.log" 2>&1 </dev/null 9>&-
        is=$(running "$container") || { say "unknown Docker did not answer"; return 0; }
        if [ -z "$is" ]; then say done; return 0; fi
    fi
    if [ "$is" = true ]; then
        timeout -k 5 60 docker container stop --time "$grace" "$container" >/dev/null 2>"$state/err" || {
            # No answer is not an empty one.
            is=$(running "$container") || { say "unknown Docker did not answer"; return 0; }
            [ -z "$is" ] || { say "failed $(tail -n 1 "$state/err")"; return 0; }
        }
    fi
    if [ "$remove" = yes ]; then
        timeout -k 5 60 docker container rm --force "$container" >/dev/null 2>"$state/err"
        until=$(($(seconds) + 60))
        while :; do
            is=$(running "$container" 2>/dev/null) || { say "unknown Docker did not answer"; return 0; }
            [ -n "$is" ] || break
            if [ "$(seconds)" -gt "$until" ]; then
                say "failed it could not be removed: $(tail -n 1 "$state/err")"
                return 0
            fi
            sleep 0.2
        done
    fi
    say done
}

# A container that is there runs again.
start() {
    is=$(running "$container") || { say "refused Docker did not answer"; return 0; }
    case "$is" in
    true) say already ;;
    false)
        if timeout -k 5 60 docker container start "$container" >/dev/null 2>"$state/err"; then say done; else
            say "failed $(tail -n 1 "$state/err")"
        fi
        ;;
    *) say "refused the container is gone" ;;
    esac
}

# Something in the process group $1 runs, whoever of it began.
group_is_alive() {
    kill -s 0 -- "-$1" 2>/dev/null || return 1
    # One that nobody has reaped yet does not run.
    for stat in /proc/[0-9]*/stat; do
        read -r words 2>/dev/null <"$stat" || continue
        # Its state, parent and group, behind a name that may have anything in it.
        words=${words##*) }
        status=${words%% *}
        words=${words#* }
        words=${words#* }
        [ "$status" = Z ] || [ "${words%% *}" != "$1" ] || return 0
    done
    return 1
}

# A job and all that it started end. A launcher that takes back what it began may need a moment: sparkrun keeps the Sparks reserved for
# good when it is killed in the middle, or told again while it does. So the leader alone is told: `timeout` tells all of the group.
end_job() {
    dir="$state/jobs/$job"
    if [ ! -r "$dir/pid" ]; then say already; return 0; fi
    read -r pid start <"$dir/pid"
    if [ "$(cat "$dir/boot")" = "$boot" ] && alive "$pid" "$start"; then
        kill -s TERM "$pid" 2>/dev/null
        tries=0
        while group_is_alive "$pid" && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
        kill -s KILL -- "-$pid" 2>/dev/null
        tries=0
        while group_is_alive "$pid" && [ "$tries" -lt 20 ]; do tries=$((tries + 1)); sleep 0.1; done
        if group_is_alive "$pid"; then say "failed it cannot be killed"; else say done; fi
    else
        say already
    fi
}

# A script of its own begins, as a job.
launch() {
    for other in "$state"/jobs/*/; do
        [ -r "$other/pid" ] && [ ! -e "$other/status" ] || continue
        [ "$(cat "$other/object")" = "$object" ] || continue
        read -r pid start <"$other/pid"
        if [ "$(cat "$other/boot")" = "$boot" ] && alive "$pid" "$start"; then
            say "refused job $(basename "$other") is still running"
            return 0
        fi
    done
    dir="$state/jobs/$job"
    if ! mkdir "$dir" 2>/dev/null; then say already; return 0; fi
    kept=$(drop)
    printf '%s\n' "$object" >"$dir/object"
    printf '%s\n' "$spec" >"$dir/spec"
    date +%s >"$dir/started"
    printf '%s\n' "$boot" >"$dir/boot"
    printf '%s\n' "$script" >"$dir/script"
    # Last: a job with a token is whole.
    printf '%s.%s.%s\n' "$epoch" "$sequence" "$controller" >"$dir/token"
    # Its own session and process group, so that no lost connection ends it and all of it can be ended; the lock is not
    # inherited. `timeout` stays the leader of that group. Killed, it leaves no status and counts as lost.
    setsid sh -c '
        cd "$1" && exec 9>&-
        printf "%s %s\n" "$$" "$(cut -d " " -f 22 "/proc/$$/stat")" >pid.new && mv pid.new pid
        exec timeout -k 10 "$2" sh -c "sh ./script >log 2>&1 </dev/null; echo \$? >status.new; mv status.new status"
    ' job "$dir" "$limit" >/dev/null 2>&1 </dev/null 9>&- &
    tries=0
    while [ ! -e "$dir/pid" ] && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
    if [ -e "$dir/pid" ]; then say "${kept:-done}"; else say "unknown the job has not started yet"; fi
    # Jobs are small; the last 50 are kept.
    ls -1t "$state/jobs" | tail -n +51 | while read -r old; do rm -r "$state/jobs/$old"; done
}

# A folder of the cache goes.
delete() {
    [ -n "$hf_home" ] || hf_home="${HF_HOME:-$HOME/.cache/huggingface}"
    case "$folder" in
    */* | *..*) say "refused $folder is no folder of a repository"; return 0 ;;
    models--?*) ;;
    *) say "refused $folder is no folder of a repository"; return 0 ;;
    esac
    if [ -L "$hf_home/hub/$folder" ]; then say "refused $folder is a link: somebody else keeps these files"; return 0; fi
    if [ ! -e "$hf_home/hub/$folder" ]; then say already; return 0; fi
    if timeout -k 5 60 rm -rf -- "$hf_home/hub/$folder" 2>"$state/err"; then say done; else
        say "failed $(tail -n 1 "$state/err")"
    fi
}

case "$act" in
advance) advance ;;
check) check ;;
stop) stop ;;
start) start ;;
end-job) end_job ;;
launch) launch ;;
delete) delete ;;
*) say "refused unknown act" ;;
esac
