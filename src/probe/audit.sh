# What the fence wrote down on this machine, oldest first. Changes nothing.
#   cluster   whose
#   last      lines at most
cat "$state/audit.log.1" "$state/audit.log" 2>/dev/null | tail -n "$last"
echo end
