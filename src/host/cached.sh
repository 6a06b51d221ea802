#   cached FOLDER REVISION TOKENIZER   the files of a repository in $hf_home, FOLDER as the cache names it. Needs `files`.
cached() {
    repository="$hf_home/hub/$1" revision=${2:-main}
    [ -d "$repository/snapshots" ] || { echo absent; return; }
    [ ! -r "$repository/refs/$revision" ] || read -r revision <"$repository/refs/$revision"
    snapshot="$repository/snapshots/$revision"
    [ -d "$snapshot" ] || { echo absent; return; }
    if [ -e "$repository/.unverified" ]; then echo "partial a transfer has not ended"; return; fi
    # A file is linked here when the whole of it is there.
    is=$(files "$snapshot" "$3")
    case "$is" in
    "partial no weights")
        for blob in "$repository"/blobs/*.incomplete; do
            if [ -e "$blob" ]; then is="partial a download has not ended"; fi
        done
        ;;
    esac
    echo "$is"
}
