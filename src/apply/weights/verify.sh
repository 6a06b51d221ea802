#   verify FOLDER   every file of a repository is what its name says, which is the digest of its content; one that is not is
#                   removed, so that the next transfer brings it again
verify() {
    all=0 done=0
    for blob in "$1"/blobs/*; do [ ! -f "$blob" ] || all=$((all + 1)); done
    for blob in "$1"/blobs/*; do
        [ -f "$blob" ] || continue
        name=${blob##*/}
        done=$((done + 1))
        [ -z "$progress" ] || echo "verifying: $done of $all files" >"$progress"
        case "$name" in *[!0-9a-f]*) continue ;; esac
        case ${#name} in
        64) digest=$(sha256sum "$blob" | cut -d ' ' -f 1) ;;
        # Small files are named as git names them.
        40) digest=$({ printf 'blob %s\0' "$(wc -c <"$blob" | tr -d ' ')" && cat "$blob"; } | sha1sum | cut -d ' ' -f 1) ;;
        *) continue ;;
        esac
        if [ "$digest" != "$name" ]; then
            rm -f "$blob"
            echo "$name was damaged on its way; it is removed, and brought again"
            return 1
        fi
    done
}
