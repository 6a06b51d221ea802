# The exact words of processes, one `word PID WORD` a line; line breaks in them become U+001E. Changes nothing.
#   pids      process ids, one a line
printf '%s\n' "$pids" | while IFS= read -r pid; do
    [ -r "/proc/$pid/cmdline" ] || continue
    tr '\000\n' '\n\036' <"/proc/$pid/cmdline" | while IFS= read -r word; do printf 'word %s %s\n' "$pid" "$word"; done
done
echo end
