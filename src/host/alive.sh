# That process, and not another that got its number, runs. One that waits to be reaped does not.
#   alive PID START     START: field 22 of /proc/PID/stat, as it was at the beginning
alive() {
    read -r _ _ status _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ began _ 2>/dev/null <"/proc/$1/stat" || return 1
    [ "$status" != Z ] && [ "$began" = "$2" ]
}

