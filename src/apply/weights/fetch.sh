# A job: download the files of a repository into the Hugging Face cache of this machine, and verify them. Its last line tells
# what went wrong. What an interrupted one brought stays, and is not brought again.
#   repo revision folder   what, and how the cache names it
#   hf_home                the cache; empty: the usual place
#   margin_kib             what stays free on its disk
#   environment_file       has a token, when there is one
progress="$PWD/progress"
if [ -n "$environment_file" ]; then
    while IFS= read -r line; do
        case "$line" in HF_TOKEN=*) HF_TOKEN=${line#*=} && export HF_TOKEN ;; esac
    done <"$environment_file"
    rm -f "$environment_file"
fi
[ -n "$hf_home" ] || hf_home="${HF_HOME:-$HOME/.cache/huggingface}"
# Each repository whole in its own folder, so that it can be copied.
HF_HOME=$hf_home HF_HUB_DISABLE_SHARED_BLOBS=1 HF_HUB_DISABLE_PROGRESS_BARS=1 PATH="$HOME/.local/bin:$PATH"
export HF_HOME HF_HUB_DISABLE_SHARED_BLOBS HF_HUB_DISABLE_PROGRESS_BARS PATH
mkdir -p "$hf_home/hub" || { echo "cannot write $hf_home/hub"; return 1; }
# In a subshell each time, and as it: what ends it ends the download.
if command -v hf >/dev/null 2>&1; then tool() { exec hf "$@"; }
elif command -v uvx >/dev/null 2>&1; then tool() { exec uvx --from huggingface_hub hf "$@"; }
else echo "neither hf nor uvx is there; install one of them"; return 1; fi
set -- download "$repo"
[ -z "$revision" ] || set -- "$@" --revision "$revision"
free_kib() { df -Pk "$hf_home/hub" | awk 'NR == 2 { print $4 }'; }
gib() { awk -v kib="$1" 'BEGIN { printf "%.1f GiB", kib / 1048576 }'; }

# Older ones know no dry run; then the disk is only watched.
needed_kib=$(tool "$@" --dry-run 2>/dev/null </dev/null | sed -n 's/.* totalling \([0-9.]*\)\([KMGTP]\{0,1\}\)\.$/\1 \2/p' |
    awk 'NR == 1 { n = index("KMGTP", $2); if ($2 == "") n = 0; printf "%d", $1 * 1000 ^ n / 1024 }')
if [ -n "$needed_kib" ] && [ $((needed_kib + margin_kib)) -gt "$(free_kib)" ]; then
    echo "$(gib "$needed_kib") are to come and $(gib "$margin_kib") stay free, but $(gib "$(free_kib)") are free on the disk"
    return 1
fi
blobs="$hf_home/hub/$folder/blobs" unverified="$hf_home/hub/$folder/.unverified"
# Until it is verified, a look takes it for a part, also when this job is ended in the middle.
mkdir -p "$hf_home/hub/$folder" && : >"$unverified" || { echo "cannot write $hf_home/hub/$folder"; return 1; }
size_kib() { du -skL "$blobs" 2>/dev/null | cut -f 1; }
before_kib=$(size_kib)
tool "$@" >download.log 2>&1 </dev/null &
download=$!
while kill -0 "$download" 2>/dev/null; do
    now_kib=$(size_kib)
    of=${needed_kib:+ of $(gib "$needed_kib")}
    echo "downloading: $(gib $((${now_kib:-0} - ${before_kib:-0})))$of" >"$progress"
    if [ "$(free_kib)" -lt "$margin_kib" ]; then
        kill "$download" 2>/dev/null
        wait "$download"
        echo "less than $(gib "$margin_kib") would stay free on the disk"
        return 1
    fi
    sleep 2
done
wait "$download" || {
    code=$?
    echo "the download ended with $code: $(tail -n 1 download.log | tr -d '\000-\037' | cut -c 1-200)"
    return 1
}
verify "$hf_home/hub/$folder" || return 1
rm -f "$unverified"
is=$(cached "$folder" "$revision" "")
case "$is" in
# What a loader needs beside, no download brings.
"whole "* | "lacks "*) ;;
*) echo "the download ended well, but the cache has not all: ${is#partial }"; return 1 ;;
esac
