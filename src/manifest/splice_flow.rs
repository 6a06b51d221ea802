//! Carrying differences into what is written in brackets.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde_json::{Map, Value as Json};
use similar::DiffOp;

use super::{
    splice::{BlockSpan, NoPlace, Placed, Splicer, added, aligned, goes_on, is_flow},
    tree::{MapKey, Node, Value},
};

impl Splicer<'_> {
    pub(super) fn flow_map(
        &mut self,
        node: &Node,
        entries: &[(MapKey, Node)],
        new: &Map<String, Json>,
    ) -> Placed {
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

    pub(super) fn flow_list(&mut self, node: &Node, items: &[Node], new: &[Json]) -> Placed {
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
    pub(super) fn flow_end(&self, node: &Node) -> Result<usize, NoPlace> {
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
}
