//! Entries that leave one map of the file and come into another, as a `move` of a JSON patch has it: they take along how they are
//! written, and the comments that speak of them.

use serde_json::Value as Json;

use super::{
    splice::{BlockSpan, LeavingEntry, Splicer, is_collection, is_flow},
    tree::{Node, Value},
};

/// With more than these nobody moves, and each would be compared with everything that comes.
const MANY: usize = 100;

impl<'a> Splicer<'a> {
    /// Find what leaves, from the outside in.
    pub(super) fn find_leaving(&mut self, before: &'a Node, new: &Json, place: BlockSpan) {
        let mut found = Vec::new();
        self.leaving_of(before, Some(new), place, &mut found);
        if found.len() <= MANY {
            self.leaving = found;
        }
    }

    /// What leaves `node`, of which `new` is what becomes.
    fn leaving_of(
        &self,
        node: &'a Node,
        new: Option<&Json>,
        place: BlockSpan,
        found: &mut Vec<LeavingEntry<'a>>,
    ) {
        let Value::Map(entries) = &node.value else { return };
        if found.len() > MANY || is_flow(self.text.text, node) || new.is_some_and(|new| node.says(new)) {
            return;
        }
        let starts: Vec<usize> = entries.iter().map(|(key, _)| key.span.start).collect();
        for ((key, value), lines) in entries.iter().zip(self.lines(&starts, place)) {
            let becomes = new.and_then(|new| new.get(&key.text));
            if becomes.is_none() && !lines.is_inline {
                found.push(LeavingEntry { key, node: value, lines });
            }
            self.leaving_of(value, becomes, BlockSpan { start: key.span.end, end: lines.end }, found);
        }
    }

    /// An entry that comes, for a block at `column`: as it was written elsewhere, or anew. A word or a number is the same entry only under
    /// the same name.
    pub(super) fn coming(&mut self, name: &str, value: &Json, column: usize) -> String {
        let is_it =
            |one: &LeavingEntry<'_>| (is_collection(value) || one.key.text == name) && one.node.says(value);
        let Some(at) = self.leaving.iter().position(is_it) else { return self.pair(name, value) };
        let LeavingEntry { key, lines, .. } = self.leaving.remove(at);
        let text = self.text.text;
        let name = if key.text == name { text[key.span.clone()].to_owned() } else { self.word(name) };
        let whole = format!("{}{name}{}", &text[lines.head..key.span.start], &text[key.span.end..lines.end]);
        let depth = self.text.column(lines.start);
        let mut moved: Vec<String> = Vec::new();
        for line in whole.trim_end().lines() {
            let own = line.len() - line.trim_start_matches(' ').len();
            let rest = &line[own.min(depth)..];
            let is_first = moved.is_empty();
            moved.push(if is_first || rest.is_empty() {
                rest.to_owned()
            } else {
                format!("{}{rest}", " ".repeat(column))
            });
        }
        moved.join(self.text.line_break(lines.start))
    }
}
