# The jobs below "$state", one `job ID STATE TOKEN STARTED SPEC OBJECT` a line, with what each said last: the newest in many lines,
# because what failed is seldom in the last: launchers sum up after it. Needs `alive`, `say`, `boot`.
jobs() {
    newest=$(ls -1t "$state/jobs" 2>/dev/null | head -n 3 | tr '\n' ' ')
    for dir in "$state"/jobs/*/; do
        [ -r "$dir/token" ] || continue
        # Nothing of the job before.
        token='' started='' spec='' object='' status='' pid='' start='' at=''
        read -r token <"$dir/token"
        read -r started <"$dir/started"
        read -r spec <"$dir/spec"
        read -r object <"$dir/object"
        if [ -r "$dir/status" ]; then
            read -r status <"$dir/status"
            is="exited:$status"
        elif [ -r "$dir/pid" ] && read -r pid start <"$dir/pid" && read -r at <"$dir/boot" && [ "$at" = "$boot" ] &&
            alive "$pid" "$start"; then
            is=running
        else
            is=lost
        fi
        id=${dir%/} id=${id##*/}
        say "job $id $is $token $started $spec $object"
        words=$dir/log count=1
        case " $newest/$is" in
        *" $id "*/exited:0 | *" $id "*/lost) count=12 ;;
        *" $id "*) count=60 ;;
        esac
        if [ "$is" = running ]; then words=$dir/progress count=1; fi
        [ ! -r "$words" ] || tail -n "$count" "$words" | tr -d '\000-\010\013-\037' | cut -c 1-300 | sed "s/^/job_said $id /"
    done
}
