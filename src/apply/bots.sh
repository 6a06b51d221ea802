# A job in the session of a bot's user: bring its checkout to its branch, build its image anew, and put a container of it in the
# place of the one that runs. Its last line tells how it ended. Nothing here asks for a password or for more rights.
#   dir        the checkout, below the home directory or absolute
#   branch     of `origin`
#   container  the one that is to run afterwards
progress="$PWD/progress"
phase() { printf '%s\n' "$1" >"$progress"; echo "== $1"; }
GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=/bin/false SSH_ASKPASS=/bin/false PATH="$HOME/.local/bin:$PATH"
export GIT_TERMINAL_PROMPT GIT_ASKPASS SSH_ASKPASS PATH
# At the limit all of it ends at once, also what would not end by itself: this, what it started, and who waits for it.
trap 'kill -s KILL 0' TERM
patient() { "$@" & wait "$!"; }
# The last line that a program said, as a piece of ours.
said() { tail -n 1 "$1" | tr -d '\000-\037' | cut -c 1-200; }
said="$PWD/said"

phase "looking at the checkout"
cd && cd "$dir" 2>/dev/null || { echo "there is no directory $dir"; return 1; }
here=$(git symbolic-ref --quiet --short HEAD 2>"$said") || { echo "$dir is no checkout of a branch: $(said "$said")"; return 1; }
if [ "$here" != "$branch" ]; then echo "$dir is on the branch $here, not on $branch"; return 1; fi
# Files that git does not know, such as settings, are the owner's and stay.
dirty=$(git status --porcelain --untracked-files=no 2>"$said") || { echo "git status: $(said "$said")"; return 1; }
if [ -n "$dirty" ]; then
    echo "$dir has changes that are not committed: $(printf '%s' "$dirty" | tr '\n' ';' | cut -c 1-150)"
    return 1
fi
before=$(git rev-parse HEAD)

phase "fetching $branch"
patient git fetch --no-tags origin "$branch" >"$said" 2>&1 || {
    cat "$said"
    # What ssh says comes before the words of git.
    echo "git fetch: $(grep -v -e '^$' -e '^Warning:' "$said" | head -n 1 | tr -d '\000-\037' | cut -c 1-200)"
    return 1
}
cat "$said"
git merge --ff-only FETCH_HEAD >"$said" 2>&1 || {
    cat "$said"
    echo "$branch cannot be moved forward to what origin has: $(said "$said")"
    return 1
}
after=$(git rev-parse HEAD)
short=$(git rev-parse --short HEAD)

if docker compose version >/dev/null 2>&1; then compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null 2>&1; then compose() { docker-compose "$@"; }
else echo "neither docker compose nor docker-compose is there"; return 1; fi
image_of() { docker container inspect --format '{{.Image}}' "$container" 2>/dev/null; }
image_before=$(image_of)

phase "building at $short"
patient compose build 2>&1 || { echo "the build at $short failed"; return 1; }
phase "recreating"
patient compose up --detach --force-recreate 2>&1 || { echo "the container could not be recreated"; return 1; }

phase "verifying"
running=$(docker container inspect --format '{{.State.Running}}' "$container" 2>/dev/null)
if [ "$running" != true ]; then echo "no container $container runs after it"; return 1; fi
if [ "$before" != "$after" ] && [ "$image_before" = "$(image_of)" ]; then
    echo "the commit changed to $short, but $container still runs the image of before"
    return 1
fi
echo "$branch is at $short, and $container runs it"
