# The jobs below "$state", one `job ID STATE TOKEN STARTED SPEC OBJECT` a line, with what each said last. Needs `alive`, `say`, `boot`.
jobs() {
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
        words=$dir/log
        [ "$is" != running ] || words=$dir/progress
        [ ! -r "$words" ] || say "job_said $id $(tail -n 1 "$words" | tr -d '\000-\037' | cut -c 1-300)"
    done
}
