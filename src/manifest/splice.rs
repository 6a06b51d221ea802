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

use super::tree::{MapKey, Node, Value};

/// Why a difference has no place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    /// Of what stands in the way.
    pub at: usize,
    pub why: &'static str,
}

type Placed = Result<(), NoPlace>;

/// `text`, which says `before`, so that it says `new`.
///
/// # Errors
/// Where the text is written in a way that cannot be changed in part.
pub fn splice(text: &str, before: &Node, new: &Json) -> Result<String, NoPlace> {
    let mut splicer = Splicer { text: Text::new(text), is_json: is_flow(text, before), cuts: Vec::new() };
    let whole = BlockSpan { start: 0, end: text.len() };
    splicer.value(before, new, whole)?;
    Ok(splicer.apply())
}

/// The text by its lines.
struct Text<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// A piece of the text in which a block is written, whole lines but for its beginning.
#[derive(Debug, Clone, Copy)]
struct BlockSpan {
    start: usize,
    end: usize,
}

struct Splicer<'a> {
    text: Text<'a>,
    /// The whole file is written as JSON: what comes in is, too.
    is_json: bool,
    /// What is replaced by what, in no order.
    cuts: Vec<(Range<usize>, String)>,
}

/// An entry of a block: from its own comments to its end.
#[derive(Debug, Clone, Copy)]
struct EntryLines {
    /// Of its comments above it, or of itself.
    head: usize,
    /// Of itself, without what stands before it on its line.
    start: usize,
    end: usize,
    /// Something else stands before it on its line, such as the dash of a list.
    is_inline: bool,
}

fn is_flow(text: &str, node: &Node) -> bool {
    // A list over lines begins where its first item does, when that is where the parser says so.
    let is_first_item = matches!(&node.value, Value::List(items) if items.first().is_some_and(|item| item.span.start == node.span.start));
    !is_first_item && text[node.span.start..].starts_with(['{', '['])
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: [0].into_iter().chain(after).collect() }
    }

    fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The beginning of the line of `at`.
    fn start_of(&self, at: usize) -> usize {
        self.starts[self.line_of(at)]
    }

    /// Behind the line of `at` and its line break.
    fn end_of(&self, at: usize) -> usize {
        self.starts.get(self.line_of(at) + 1).copied().unwrap_or(self.text.len())
    }

    fn line(&self, number: usize) -> &'a str {
        let end = self.starts.get(number + 1).copied().unwrap_or(self.text.len());
        self.text[self.starts[number]..end].trim_end_matches(['\n', '\r'])
    }

    fn column(&self, at: usize) -> usize {
        at - self.start_of(at)
    }

    /// As the line of `at` ends.
    fn line_break(&self, at: usize) -> &'static str {
        let line = self.line_of(at);
        let ends = |line: usize| self.starts.get(line + 1).map(|end| self.text[..*end].ends_with("\r\n"));
        let known = ends(line).or_else(|| ends(line.checked_sub(1)?));
        if known == Some(true) { "\r\n" } else { "\n" }
    }

    /// Nothing but a comment, or nothing, or the end of the document.
    fn is_aside(&self, number: usize) -> bool {
        let line = self.line(number).trim_start();
        line.is_empty() || line.starts_with('#') || self.is_marker(number)
    }

    fn is_marker(&self, number: usize) -> bool {
        let line = self.line(number);
        line.starts_with("...") || line.starts_with("---")
    }

    fn indent(&self, number: usize) -> usize {
        let line = self.line(number);
        line.len() - line.trim_start().len()
    }

    /// Where what begins in this line and ends before `limit` really ends: what follows it at `column` or before it, blank lines and
    /// comments, belongs to somebody else.
    fn own_end(&self, start: usize, limit: usize, column: usize) -> usize {
        let first = self.line_of(start);
        let mut last = self.line_of(limit.max(start + 1) - 1);
        while last > first {
            let line = self.line(last).trim_start();
            let is_deeper_comment = line.starts_with('#') && self.indent(last) > column;
            if !self.is_aside(last) || is_deeper_comment {
                break;
            }
            last -= 1;
        }
        self.end_of(self.starts[last])
    }

    /// The first of the comments right above this line that speak of it, not before `limit`.
    fn head(&self, start: usize, limit: usize, column: usize) -> usize {
        let mut line = self.line_of(start);
        while line > 0 && self.starts[line - 1] >= limit {
            let above = self.line(line - 1);
            if !above.trim_start().starts_with('#') || self.indent(line - 1) != column {
                break;
            }
            line -= 1;
        }
        self.starts[line]
    }

    /// The first of what is neither white space, a comment nor one of these letters.
    fn skip(&self, mut at: usize, also: &[char]) -> usize {
        loop {
            let rest = &self.text[at..];
            let Some(letter) = rest.chars().next() else { return at };
            if letter == '#' && self.text[..at].ends_with([' ', '\t', '\n']) {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if letter.is_whitespace() || also.contains(&letter) {
                at += letter.len_utf8();
            } else {
                return at;
            }
        }
    }
}

impl Splicer<'_> {
    fn cut(&mut self, range: Range<usize>, text: impl Into<String>) {
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
    fn value(&mut self, old: &Node, new: &Json, place: BlockSpan) -> Placed {
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
    fn replace(&mut self, old: &Node, new: &Json, from: usize, end: usize) -> Placed {
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

    fn colon(&self, key: &MapKey) -> Result<usize, NoPlace> {
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
            let entries: Vec<String> = added.iter().map(|(key, value)| self.pair(key, value)).collect();
            self.instead(&lines, column, &entries, "{}");
            return Ok(());
        }
        self.remove(&gone, &lines, &starts);
        let added: Vec<String> = added.iter().map(|(key, value)| self.pair(key, value)).collect();
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
    fn fill(&mut self, node: &Node, texts: &[String]) -> Result<bool, NoPlace> {
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
    fn lines(&self, starts: &[usize], place: BlockSpan) -> Vec<EntryLines> {
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
    fn insert_lines(&mut self, at: usize, column: usize, texts: &[String]) {
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
    fn rename(&mut self, key: &MapKey, old: &Node, added: &mut Vec<(&String, &Json)>) -> bool {
        let Some(renamed) = renamed(added, old) else { return false };
        let (name, _) = added.remove(renamed);
        let name = self.word(name);
        self.cut(key.span.clone(), name);
        true
    }

    fn flow_map(&mut self, node: &Node, entries: &[(MapKey, Node)], new: &Map<String, Json>) -> Placed {
        let mut spans = Vec::new();
        for (key, value) in entries {
            let end = self.flow_end(value)?.max(key.span.end);
            spans.push(key.span.start..end);
        }
        let mut added = added(entries, new);
        let mut gone = BTreeSet::new();
        for (at, (key, old)) in entries.iter().enumerate() {
            match new.get(&key.text) {
                Some(value) if old.says(value) => {}
                Some(value) if goes_on(old, value) && is_flow(self.text.text, old) => {
                    self.value(old, value, BlockSpan { start: key.span.end, end: spans[at].end })?;
                }
                Some(value) => {
                    let colon = self.colon(key)?;
                    self.replace(old, value, colon + 1, spans[at].end)?;
                }
                None if self.rename(key, old, &mut added) => {}
                None => {
                    gone.insert(at);
                }
            }
        }
        let added: Vec<String> = added.iter().map(|(key, value)| self.pair(key, value)).collect();
        if entries.is_empty() && self.fill(node, &added)? {
            return Ok(());
        }
        self.flow(node, &spans, &gone, &BTreeMap::from([(entries.len(), added)]))
    }

    fn flow_list(&mut self, node: &Node, items: &[Node], new: &[Json]) -> Placed {
        let lines: Vec<String> = new.iter().map(|value| format!("- {}", self.written(value))).collect();
        if items.is_empty() && self.fill(node, &lines)? {
            return Ok(());
        }
        let mut spans = Vec::new();
        for item in items {
            if item.span.is_empty() {
                return Err(NoPlace { at: item.span.start, why: "an item of this list is blank" });
            }
            spans.push(item.span.start..self.flow_end(item)?);
        }
        if self.flow_reordered(node, items, &spans, new)? {
            return Ok(());
        }
        let mut gone = BTreeSet::new();
        let mut comes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for op in aligned(items, new) {
            if matches!(op, DiffOp::Equal { .. }) {
                continue;
            }
            let (old, now) = (op.old_range(), op.new_range());
            let both = old.len().min(now.len());
            for step in 0..both {
                let (item, value) = (&items[old.start + step], &new[now.start + step]);
                let span = spans[old.start + step].clone();
                if goes_on(item, value) {
                    self.value(item, value, BlockSpan { start: span.start, end: span.end })?;
                } else {
                    let written = self.written(value);
                    self.cut(span, written);
                }
            }
            gone.extend(old.start + both..old.end);
            let written: Vec<String> =
                new[now.start + both..now.end].iter().map(|value| self.written(value)).collect();
            comes.entry(old.end).or_default().extend(written);
        }
        self.flow(node, &spans, &gone, &comes)
    }

    /// Items of brackets that stand in lines of their own, and change places: each takes its lines, and its comments, with it.
    fn flow_reordered(
        &mut self,
        node: &Node,
        items: &[Node],
        spans: &[Range<usize>],
        new: &[Json],
    ) -> Result<bool, NoPlace> {
        let stays: BTreeSet<usize> = aligned(items, new)
            .iter()
            .filter(|op| matches!(op, DiffOp::Equal { .. }))
            .flat_map(DiffOp::new_range)
            .collect();
        let moves =
            |(at, value): (usize, &Json)| !stays.contains(&at) && items.iter().any(|item| item.says(value));
        let close = self.flow_end(node)? - 1;
        let lines = self.flow_lines(node, spans, close);
        let Some(lines) = lines.filter(|_| new.iter().enumerate().any(moves)) else { return Ok(false) };
        let last = spans.len() - 1;
        let ends_with_comma = self.comma_after(spans[last].end, close).is_some();
        let indent = &self.text.text[self.text.start_of(spans[0].start)..spans[0].start];
        let mut left: Vec<usize> = (0..items.len()).collect();
        let mut text = String::new();
        for (at, value) in new.iter().enumerate() {
            let comma = if at + 1 < new.len() || ends_with_comma { "," } else { "" };
            let Some(from) = left.iter().position(|from| items[*from].says(value)) else {
                text +=
                    &format!("{indent}{}{comma}{}", self.written(value), self.text.line_break(spans[0].end));
                continue;
            };
            let from = left.remove(from);
            let (whole, behind) = (&lines[from], self.comma_after(spans[from].end, close));
            text += &self.text.text[whole.start..spans[from].end];
            text += comma;
            text += &self.text.text[behind.map_or(spans[from].end, |comma| comma + 1)..whole.end];
        }
        self.cut(lines[0].start..lines[last].end, text);
        Ok(true)
    }

    /// The lines of each item in brackets, from its comments to its end; `None` where one shares a line with something else.
    fn flow_lines(&self, node: &Node, spans: &[Range<usize>], close: usize) -> Option<Vec<Range<usize>>> {
        let inside = node.span.start + 1;
        let mut lines: Vec<Range<usize>> = Vec::new();
        for span in spans {
            let start = self.text.start_of(span.start);
            let behind = self.comma_after(span.end, close).map_or(span.end, |comma| comma + 1);
            let end = self.text.end_of(behind);
            let rest = self.text.text[behind..end].trim();
            let is_alone = start > node.span.start
                && self.text.text[start..span.start].trim().is_empty()
                && (rest.is_empty() || rest.starts_with('#'));
            let head = self.text.head(start, inside, self.text.column(span.start));
            // A comment between two of them speaks of neither.
            let is_next = lines.last().is_none_or(|before| before.end == head);
            if !is_alone || !is_next {
                return None;
            }
            lines.push(head..end);
        }
        Some(lines)
    }

    /// Take entries out of brackets and put others in, each behind the entry before that number.
    fn flow(
        &mut self,
        node: &Node,
        spans: &[Range<usize>],
        gone: &BTreeSet<usize>,
        comes: &BTreeMap<usize, Vec<String>>,
    ) -> Placed {
        let inside = node.span.start + 1;
        let close = self.flow_end(node)? - 1;
        let comes: BTreeMap<usize, &Vec<String>> =
            comes.iter().filter(|(_, texts)| !texts.is_empty()).map(|(at, texts)| (*at, texts)).collect();
        if gone.len() == spans.len() {
            // Nothing stays that could have a place.
            let texts: Vec<&str> =
                comes.values().flat_map(|texts| texts.iter().map(String::as_str)).collect();
            let is_map = self.text.text[node.span.start..].starts_with('{');
            let text = match (texts.is_empty(), is_map) {
                (true, _) => String::new(),
                (false, true) => format!(" {} ", texts.join(", ")),
                (false, false) => texts.join(", "),
            };
            if !gone.is_empty() || !text.is_empty() {
                self.cut(inside..close, text);
            }
            return Ok(());
        }
        let stays = |at: &usize| !gone.contains(at);
        let first = (0..spans.len()).find(stays).expect("one stays");
        let last = (0..spans.len()).rev().find(stays).expect("one stays");
        for at in gone {
            let span = &spans[*at];
            let line = self.text.start_of(span.start);
            let comma = self.comma_after(span.end, close);
            let line_end = self.text.end_of(span.end.max(comma.map_or(0, |comma| comma + 1)));
            let behind = self.text.text[comma.map_or(span.end, |comma| comma + 1)..line_end].trim_start();
            let is_alone = self.text.text[line..span.start].trim().is_empty()
                && line > node.span.start
                && (behind.trim().is_empty() || behind.starts_with('#'));
            if is_alone {
                self.cut(self.text.head(line, inside, self.text.column(span.start))..line_end, "");
            } else if *at < first {
                // Those that stay come up to the bracket.
                self.cut(span.start..spans[at + 1].start, "");
            } else {
                // With the comma before it.
                let before = spans[at - 1].end;
                let comma = self.comma_after(before, close).unwrap_or(before);
                self.cut(comma..span.end, "");
            }
        }
        // A comma behind the last is no JSON, and looks odd in a line.
        if last + 1 < spans.len() && !comes.contains_key(&spans.len()) {
            let were_alone = gone.iter().filter(|at| **at > last).all(|at| {
                let line = self.text.start_of(spans[*at].start);
                self.text.text[line..spans[*at].start].trim().is_empty() && line > node.span.start
            });
            let had_one = self.comma_after(spans[spans.len() - 1].end, close).is_some();
            if let Some(comma) = self.comma_after(spans[last].end, close).filter(|_| were_alone && !had_one) {
                self.cut(comma..comma + 1, "");
            }
        }
        for (at, texts) in comes {
            // Behind the last entry before it that stays, or before the first that does.
            match (0..at).rev().find(stays) {
                Some(before) => {
                    // Whether the brackets end with a comma stays as it is.
                    let goes_on = (at..spans.len()).any(|after| stays(&after));
                    let had_one = self.comma_after(spans[spans.len() - 1].end, close).is_some();
                    self.flow_insert_behind(node, &spans[before], close, texts, goes_on || had_one);
                }
                None => {
                    let joined: String = texts.iter().map(|text| format!("{text}, ")).collect();
                    self.cut(spans[first].start..spans[first].start, joined);
                }
            }
        }
        Ok(())
    }

    fn flow_insert_behind(
        &mut self,
        node: &Node,
        before: &Range<usize>,
        close: usize,
        texts: &[String],
        ends_with_comma: bool,
    ) {
        let line = self.text.start_of(before.start);
        let is_alone = self.text.text[line..before.start].trim().is_empty() && line > node.span.start;
        let comma = self.comma_after(before.end, close);
        let line_end = self.text.end_of(before.end);
        // In lines of their own, when the others are and the bracket is not closed in this one.
        if !is_alone || close < line_end {
            let joined: String = texts.iter().map(|text| format!(", {text}")).collect();
            self.cut(before.end..before.end, joined);
            return;
        }
        if comma.is_none() {
            self.cut(before.end..before.end, ",");
        }
        let line_break = self.text.line_break(before.end);
        let indent = &self.text.text[line..before.start];
        let mut lines = String::new();
        for (at, text) in texts.iter().enumerate() {
            let comma = if ends_with_comma || at + 1 < texts.len() { "," } else { "" };
            lines += &format!("{indent}{text}{comma}{line_break}");
        }
        let behind = self.text.end_of(comma.map_or(before.end, |comma| comma.max(before.end)));
        self.cut(behind..behind, lines);
    }

    fn comma_after(&self, at: usize, close: usize) -> Option<usize> {
        let at = self.text.skip(at, &[]);
        (at < close && self.text.text[at..].starts_with(',')).then_some(at)
    }

    /// Behind the last letter of a value in brackets, or of a word.
    fn flow_end(&self, node: &Node) -> Result<usize, NoPlace> {
        if !is_flow(self.text.text, node) {
            let said = self.text.text.get(node.span.clone()).unwrap_or_default();
            return Ok(node.span.start + said.trim_end().len());
        }
        let mut at = node.span.start + 1;
        let inner: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        if let Some(last) = inner.last() {
            at = self.flow_end(last)?.max(at);
            if let Value::Map(entries) = &node.value {
                at = at.max(entries[entries.len() - 1].0.span.end);
            }
        }
        let at = self.text.skip(at, &[',', ':']);
        match self.text.text[at..].starts_with(['}', ']']) {
            true => Ok(at + 1),
            false => {
                Err(NoPlace { at: node.span.start, why: "these brackets are written in an unusual way" })
            }
        }
    }

    // --- words

    fn pair(&self, key: &str, value: &Json) -> String {
        format!("{}: {}", self.word(key), self.written(value))
    }

    fn word(&self, text: &str) -> String {
        if self.is_json { quoted(text) } else { word(text) }
    }

    fn written(&self, value: &Json) -> String {
        written(value, self.is_json)
    }
}

/// What is there goes on as another value of the same kind: it is changed in part.
fn goes_on(old: &Node, new: &Json) -> bool {
    match (&old.value, new) {
        (Value::Map(old), Json::Object(new)) => !old.is_empty() || !new.is_empty(),
        (Value::List(old), Json::Array(new)) => !old.is_empty() || !new.is_empty(),
        _ => false,
    }
}

/// Entries that were not there before.
fn added<'a>(entries: &[(MapKey, Node)], new: &'a Map<String, Json>) -> Vec<(&'a String, &'a Json)> {
    let known: BTreeSet<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    new.iter().filter(|(key, _)| !known.contains(key.as_str())).collect()
}

/// Where one that is gone goes on under another name, among what is added. With many, nobody renames.
fn renamed(added: &[(&String, &Json)], old: &Node) -> Option<usize> {
    const MANY: usize = 100;
    let few = added.len() <= MANY;
    added.iter().position(|(_, value)| few && is_collection(value) && old.says(value))
}

fn is_collection(value: &Json) -> bool {
    match value {
        Json::Object(entries) => !entries.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// Which items stay, come and go.
fn aligned(old: &[Node], new: &[Json]) -> Vec<DiffOp> {
    let old: Vec<String> = old.iter().map(|item| item.json().to_string()).collect();
    let new: Vec<String> = new.iter().map(ToString::to_string).collect();
    capture_diff_slices(Algorithm::Myers, &old, &new)
}

/// A value on one line, as entries of this file mostly are.
pub fn on_one_line(value: &Json) -> String {
    written(value, false)
}

fn written(value: &Json, is_json: bool) -> String {
    let pair = |(key, value): (&String, &Json)| {
        let key = if is_json { quoted(key) } else { word(key) };
        format!("{key}: {}", written(value, is_json))
    };
    match value {
        Json::Null | Json::Bool(_) => value.to_string(),
        Json::Number(number) => figure(&number.to_string()),
        Json::String(text) => {
            if is_json {
                quoted(text)
            } else {
                word(text)
            }
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| written(item, is_json)).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) if entries.is_empty() => "{}".into(),
        Json::Object(entries) => format!("{{ {} }}", entries.iter().map(pair).collect::<Vec<_>>().join(", ")),
    }
}

/// YAML 1.1 takes `1e-7` for a word: it wants a point, and a sign in the exponent.
fn figure(text: &str) -> String {
    match text.split_once('e') {
        None => text.to_owned(),
        Some((digits, exponent)) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
            format!("{digits}{point}e{sign}{exponent}")
        }
    }
}

/// Text as a scalar that every YAML parser reads as that text: plain when nobody could take it for something else, else
/// in double quotes, whose escapes JSON shares.
pub fn word(text: &str) -> String {
    // YAML 1.1 takes these for booleans and null.
    const TAKEN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    // An address has two dots at least, so it is no number.
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if plain || address { text.to_owned() } else { quoted(text) }
}

/// In double quotes; what YAML takes for a line break and JSON does not is escaped, too.
fn quoted(text: &str) -> String {
    let text = Json::from(text).to_string();
    text.chars().fold(String::new(), |mut safe, letter| {
        match letter {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => safe.push(letter),
        }
        safe
    })
}
