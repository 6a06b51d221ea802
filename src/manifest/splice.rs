//! Carrying differences into the text of the file: what differs is cut out or put in at its place, and no other byte is touched.
//!
//! Each value knows where it was written (`tree`). A map or list is written over lines (block) or in brackets (flow), and an
//! entry takes its own comments with it: those above it without a blank line between, those beside it, and deeper ones below it.
//! What comes out is read back by `edit`: a text that this reads wrongly is refused, never written.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde_json::{Map, Value as Json};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::{
    lines::FileLines,
    scalar::{quoted, word, written},
    tree::{MapKey, Node, Value},
};

/// Why a difference has no place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    /// Of what stands in the way.
    pub at: usize,
    pub why: &'static str,
}

pub(super) type Placed = Result<(), NoPlace>;

/// Whether what leaves one map and comes into another is written there as it was here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovedText {
    AsWritten,
    /// A word for a value that is written elsewhere, which an alias is, may not be moved before that.
    Anew,
}

/// `text`, which says `before`, so that it says `new`.
///
/// # Errors
/// Where the text is written in a way that cannot be changed in part.
pub fn splice(text: &str, before: &Node, new: &Json, moves: MovedText) -> Result<String, NoPlace> {
    let mut splicer = Splicer {
        text: FileLines::new(text),
        is_json: is_flow(text, before),
        leaving: Vec::new(),
        cuts: Vec::new(),
    };
    let whole = BlockSpan { start: 0, end: text.len() };
    if moves == MovedText::AsWritten {
        splicer.find_leaving(before, new, whole);
    }
    splicer.value(before, new, whole)?;
    Ok(splicer.apply())
}

/// A piece of the text in which a block is written, whole lines but for its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSpan {
    pub start: usize,
    pub end: usize,
}

pub(super) struct Splicer<'a> {
    pub text: FileLines<'a>,
    /// The whole file is written as JSON: what comes in is, too.
    pub is_json: bool,
    /// Entries that may come elsewhere.
    pub leaving: Vec<LeavingEntry<'a>>,
    /// What is replaced by what, in no order.
    pub cuts: Vec<(Range<usize>, String)>,
}

/// An entry of a block: from its own comments to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryLines {
    /// Of its comments above it, or of itself.
    pub head: usize,
    /// Of itself, without what stands before it on its line.
    pub start: usize,
    pub end: usize,
    /// Something else stands before it on its line, such as the dash of a list.
    pub is_inline: bool,
}

/// An entry of a block that is not there any more, and may come elsewhere (`moved`).
pub(super) struct LeavingEntry<'a> {
    pub key: &'a MapKey,
    pub node: &'a Node,
    pub lines: EntryLines,
}

pub(super) fn is_flow(text: &str, node: &Node) -> bool {
    // A list over lines begins where its first item does, when that is where the parser says so.
    let is_first_item = matches!(&node.value, Value::List(items) if items.first().is_some_and(|item| item.span.start == node.span.start));
    !is_first_item && text[node.span.start..].starts_with(['{', '['])
}

impl Splicer<'_> {
    pub(super) fn cut(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.cuts.push((range, text.into()));
    }

    /// What is put in comes behind what is cut out before it.
    fn apply(mut self) -> String {
        self.cuts.sort_by_key(|(range, _)| (range.start, range.end));
        let mut spliced = String::with_capacity(self.text.text.len());
        let mut done = 0;
        for (range, text) in self.cuts {
            // One that lies in what is gone already.
            if range.start < done {
                spliced.push_str(&text);
                done = done.max(range.end);
                continue;
            }
            spliced.push_str(&self.text.text[done..range.start]);
            spliced.push_str(&text);
            done = range.end;
        }
        spliced.push_str(&self.text.text[done..]);
        spliced
    }

    /// A value that is another one now.
    pub(super) fn value(&mut self, old: &Node, new: &Json, place: BlockSpan) -> Placed {
        let flow = is_flow(self.text.text, old);
        match (&old.value, new) {
            (Value::Map(entries), Json::Object(new)) if flow => self.flow_map(old, entries, new),
            (Value::Map(entries), Json::Object(new)) if !entries.is_empty() => {
                self.block_map(entries, new, place)
            }
            (Value::List(items), Json::Array(new)) if flow => self.flow_list(old, items, new),
            (Value::List(items), Json::Array(new)) if !items.is_empty() => self.block_list(items, new, place),
            _ => Err(NoPlace {
                at: old.span.start,
                why: "the file must stay a map with `version`, `sparks` and so on",
            }),
        }
    }

    /// The value of `key`, which is another one now and stands in its line or below it until `end`.
    fn entry(&mut self, key: &MapKey, old: &Node, new: &Json, end: usize) -> Placed {
        if goes_on(old, new) {
            return self.value(old, new, BlockSpan { start: key.span.end, end });
        }
        let colon = self.colon(key)?;
        self.replace(old, new, colon + 1, end)
    }

    /// A value that is written anew behind `from`, in the line of that.
    pub(super) fn replace(&mut self, old: &Node, new: &Json, from: usize, end: usize) -> Placed {
        let written = self.written(new);
        if is_flow(self.text.text, old) {
            let close = self.flow_end(old)?;
            self.cut(old.span.start..close, written);
            return Ok(());
        }
        let is_block = matches!(&old.value, Value::Map(_) | Value::List(_));
        if is_block {
            // The comment in its line stays; the lines below it go.
            self.cut(from..from, format!(" {written}"));
            let below = self.text.end_of(from);
            if old.span.start < below {
                return Err(NoPlace { at: old.span.start, why: "it begins in the line of what holds it" });
            }
            self.cut(below..end.max(below), "");
            return Ok(());
        }
        // Nothing is written as nothing, or as a word for it.
        if old.span.is_empty() || old.span.start < from {
            self.cut(from..from, format!(" {written}"));
            return Ok(());
        }
        // A block of text: its header stands in this line, its words below it.
        let header = from + self.text.text[from..].chars().take_while(|letter| *letter == ' ').count();
        if self.text.text[header..].starts_with(['|', '>']) {
            let below = self.text.end_of(header);
            let rest = &self.text.text[header..below];
            self.cut(header..header + rest.find(char::is_whitespace).unwrap_or(rest.len()), written);
            self.cut(below..end.max(below), "");
            return Ok(());
        }
        let said = &self.text.text[old.span.clone()];
        let trimmed = old.span.start + said.trim_end().len();
        self.cut(old.span.start..trimmed, written);
        Ok(())
    }

    pub(super) fn colon(&self, key: &MapKey) -> Result<usize, NoPlace> {
        let at = self.text.skip(key.span.end, &[]);
        if self.text.text[at..].starts_with(':') {
            Ok(at)
        } else {
            Err(NoPlace { at, why: "its key is written in an unusual way" })
        }
    }

    // --- blocks

    fn block_map(&mut self, entries: &[(MapKey, Node)], new: &Map<String, Json>, place: BlockSpan) -> Placed {
        let starts: Vec<usize> = entries.iter().map(|(key, _)| key.span.start).collect();
        let lines = self.lines(&starts, place);
        let column = self.text.column(starts[0]);
        let mut added = added(entries, new);
        let mut gone = BTreeSet::new();
        for (at, (key, old)) in entries.iter().enumerate() {
            match new.get(&key.text) {
                Some(value) if old.says(value) => {}
                Some(value) => self.entry(key, old, value, lines[at].end)?,
                None if self.rename(key, old, &mut added) => {}
                None => {
                    gone.insert(at);
                }
            }
        }
        let stays = gone.len() < entries.len();
        if !stays {
            let entries: Vec<String> =
                added.iter().map(|(key, value)| self.coming(key, value, column)).collect();
            self.instead(&lines, column, &entries, "{}");
            return Ok(());
        }
        self.remove(&gone, &lines, &starts);
        let added: Vec<String> = added.iter().map(|(key, value)| self.coming(key, value, column)).collect();
        self.insert_lines(lines[lines.len() - 1].end, column, &added);
        Ok(())
    }

    fn block_list(&mut self, items: &[Node], new: &[Json], place: BlockSpan) -> Placed {
        let mut starts = Vec::new();
        for item in items {
            let before = self.text.text[..item.span.start].trim_end_matches([' ', '\t', '\n', '\r']);
            if !before.ends_with('-') {
                return Err(NoPlace {
                    at: item.span.start,
                    why: "an item of this list is blank, shared or written in an unusual way",
                });
            }
            starts.push(before.len() - 1);
        }
        let lines = self.lines(&starts, place);
        let column = self.text.column(starts[0]);
        let mut gone = BTreeSet::new();
        let mut comes: BTreeMap<usize, Vec<&Json>> = BTreeMap::new();
        for op in aligned(items, new) {
            let (old, now) = (op.old_range(), op.new_range());
            let both = if matches!(op, DiffOp::Equal { .. }) { 0 } else { old.len().min(now.len()) };
            if matches!(op, DiffOp::Equal { .. }) {
                continue;
            }
            for step in 0..both {
                let (item, value) = (&items[old.start + step], &new[now.start + step]);
                let (start, end) = (starts[old.start + step], lines[old.start + step].end);
                if goes_on(item, value) {
                    self.value(item, value, BlockSpan { start: start + 1, end })?;
                } else {
                    self.replace_item(item, value, start, end)?;
                }
            }
            gone.extend(old.start + both..old.end);
            comes.entry(old.end).or_default().extend(&new[now.start + both..now.end]);
        }
        if gone.len() == items.len() {
            let texts = comes.values().flatten().map(|value| format!("- {}", self.written(value)));
            let texts: Vec<String> = texts.collect();
            // Dashes may stand as deep as their key, brackets may not.
            self.instead(&lines, column, &texts, "  []");
            return Ok(());
        }
        // One that only moved takes its lines, and its comments, with it.
        let mut moved: BTreeMap<usize, String> = gone
            .iter()
            .filter(|at| !lines[**at].is_inline)
            .map(|at| (*at, self.text.text[lines[*at].head..lines[*at].end].to_owned()))
            .collect();
        let removed = gone.clone();
        for (at, values) in comes {
            let mut texts = Vec::new();
            for value in values {
                let from = moved.keys().copied().find(|from| items[*from].says(value));
                let whole = from.and_then(|from| moved.remove(&from));
                texts.push(match whole {
                    Some(text) => text.trim_start_matches(' ').trim_end_matches(['\n', '\r']).to_owned(),
                    None => format!("- {}", self.written(value)),
                });
            }
            if at == 0 {
                self.insert_before(lines[0], column, &texts);
            } else {
                self.insert_lines(lines[at - 1].end, column, &texts);
            }
        }
        self.remove(&removed, &lines, &starts);
        Ok(())
    }

    /// What comes takes the place of the first, below the comments that were there.
    fn instead(&mut self, lines: &[EntryLines], column: usize, texts: &[String], nothing: &str) {
        let first = lines[0];
        for line in &lines[1..] {
            self.cut(line.head..line.end, "");
        }
        let line_break = self.text.line_break(first.start);
        let text = match texts {
            [] => nothing.to_owned(),
            texts => texts.join(&format!("{line_break}{}", " ".repeat(column))),
        };
        let is_open = first.end == self.text.text.len() && !self.text.text.ends_with('\n');
        let close = if is_open { "" } else { line_break };
        self.cut(first.start..first.end, format!("{text}{close}"));
    }

    /// Brackets with nothing in them that stand below their key, where something is to come: it is written over lines.
    pub(super) fn fill(&mut self, node: &Node, texts: &[String]) -> Result<bool, NoPlace> {
        let (start, close) = (node.span.start, self.flow_end(node)?);
        let line = self.text.start_of(start);
        let behind = self.text.text[close..self.text.end_of(close)].trim_start();
        let is_alone = line > 0
            && self.text.text[line..start].trim().is_empty()
            && (behind.is_empty() || behind.starts_with('#'));
        if is_alone && !texts.is_empty() && !self.is_json {
            let line_break = self.text.line_break(start);
            let text = texts.join(&format!("{line_break}{}", " ".repeat(start - line)));
            self.cut(start..close, text);
        }
        Ok(is_alone && !texts.is_empty() && !self.is_json)
    }

    /// An item of a list that is written anew behind its dash.
    fn replace_item(&mut self, old: &Node, new: &Json, dash: usize, end: usize) -> Placed {
        let is_block = matches!(&old.value, Value::Map(_) | Value::List(_)) && !is_flow(self.text.text, old);
        if !is_block {
            return self.replace(old, new, dash + 1, end);
        }
        let written = self.written(new);
        let line_break = self.text.line_break(dash);
        self.cut(old.span.start..end, format!("{written}{line_break}"));
        Ok(())
    }

    /// The lines of each entry of a block, which begin there.
    pub(super) fn lines(&self, starts: &[usize], place: BlockSpan) -> Vec<EntryLines> {
        let text = &self.text;
        let mut limit = place.start;
        let mut lines = Vec::with_capacity(starts.len());
        for (at, start) in starts.iter().enumerate() {
            let column = text.column(*start);
            let line = text.start_of(*start);
            let is_inline = !text.text[line..*start].trim().is_empty();
            let next = starts.get(at + 1).map_or(place.end, |next| text.start_of(*next));
            let end = text.own_end(*start, next.max(*start + 1), column);
            let head = if is_inline { *start } else { text.head(line, limit, column) };
            lines.push(EntryLines { head, start: *start, end, is_inline });
            limit = end;
        }
        lines
    }

    fn remove(&mut self, gone: &BTreeSet<usize>, lines: &[EntryLines], starts: &[usize]) {
        for at in gone {
            let line = lines[*at];
            if line.is_inline {
                // What stands before it on its line stays, and the next comes up to it.
                let next = (at + 1..starts.len()).find(|next| !gone.contains(next));
                let end = next.map_or(line.end, |next| starts[next]);
                self.cut(line.start..end, "");
            } else {
                self.cut(line.head..line.end, "");
            }
        }
    }

    /// Lines of their own behind `at`, which is the beginning of a line or the end of the text.
    pub(super) fn insert_lines(&mut self, at: usize, column: usize, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        let line_break = self.text.line_break(at.saturating_sub(1));
        let indent = " ".repeat(column);
        let is_open = at > 0 && !self.text.text[..at].ends_with('\n');
        let mut inserted = String::new();
        for text in texts {
            if is_open {
                inserted += &format!("{line_break}{indent}{text}");
            } else {
                inserted += &format!("{indent}{text}{line_break}");
            }
        }
        self.cut(at..at, inserted);
    }

    /// Before the first entry and its comments.
    fn insert_before(&mut self, first: EntryLines, column: usize, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        let line_break = self.text.line_break(first.start);
        let indent = " ".repeat(column);
        if first.is_inline {
            let text = texts.join(&format!("{line_break}{indent}"));
            self.cut(first.start..first.start, format!("{text}{line_break}{indent}"));
        } else {
            let lines: String = texts.iter().map(|text| format!("{indent}{text}{line_break}")).collect();
            self.cut(first.head..first.head, lines);
        }
    }

    // --- brackets

    /// The same under another name is renamed where it stands, and is not added any more. Tells whether it was.
    pub(super) fn rename(&mut self, key: &MapKey, old: &Node, added: &mut Vec<(&String, &Json)>) -> bool {
        let Some(renamed) = renamed(added, old) else { return false };
        let (name, _) = added.remove(renamed);
        let name = self.word(name);
        self.cut(key.span.clone(), name);
        true
    }

    pub(super) fn pair(&self, key: &str, value: &Json) -> String {
        format!("{}: {}", self.word(key), self.written(value))
    }

    pub(super) fn word(&self, text: &str) -> String {
        if self.is_json { quoted(text) } else { word(text) }
    }

    pub(super) fn written(&self, value: &Json) -> String {
        written(value, self.is_json)
    }
}

/// What is there goes on as another value of the same kind: it is changed in part.
pub(super) fn goes_on(old: &Node, new: &Json) -> bool {
    match (&old.value, new) {
        (Value::Map(old), Json::Object(new)) => !old.is_empty() || !new.is_empty(),
        (Value::List(old), Json::Array(new)) => !old.is_empty() || !new.is_empty(),
        _ => false,
    }
}

/// Entries that were not there before.
pub(super) fn added<'a>(
    entries: &[(MapKey, Node)],
    new: &'a Map<String, Json>,
) -> Vec<(&'a String, &'a Json)> {
    let known: BTreeSet<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    new.iter().filter(|(key, _)| !known.contains(key.as_str())).collect()
}

/// Where one that is gone goes on under another name, among what is added. With many, nobody renames.
fn renamed(added: &[(&String, &Json)], old: &Node) -> Option<usize> {
    const MANY: usize = 100;
    let few = added.len() <= MANY;
    added.iter().position(|(_, value)| few && is_collection(value) && old.says(value))
}

pub(super) fn is_collection(value: &Json) -> bool {
    match value {
        Json::Object(entries) => !entries.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// Which items stay, come and go.
pub(super) fn aligned(old: &[Node], new: &[Json]) -> Vec<DiffOp> {
    let old: Vec<String> = old.iter().map(|item| item.json().to_string()).collect();
    let new: Vec<String> = new.iter().map(ToString::to_string).collect();
    capture_diff_slices(Algorithm::Myers, &old, &new)
}
