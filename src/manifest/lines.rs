//! The text of the file by its lines: where things begin, end, and whose a comment is.

/// The text by its lines.
pub(super) struct FileLines<'a> {
    pub text: &'a str,
    pub starts: Vec<usize>,
}

impl<'a> FileLines<'a> {
    pub fn new(text: &'a str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: [0].into_iter().chain(after).collect() }
    }

    pub fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The beginning of the line of `at`.
    pub fn start_of(&self, at: usize) -> usize {
        self.starts[self.line_of(at)]
    }

    /// Behind the line of `at` and its line break.
    pub fn end_of(&self, at: usize) -> usize {
        self.starts.get(self.line_of(at) + 1).copied().unwrap_or(self.text.len())
    }

    pub fn line(&self, number: usize) -> &'a str {
        let end = self.starts.get(number + 1).copied().unwrap_or(self.text.len());
        self.text[self.starts[number]..end].trim_end_matches(['\n', '\r'])
    }

    pub fn column(&self, at: usize) -> usize {
        at - self.start_of(at)
    }

    /// As the line of `at` ends.
    pub fn line_break(&self, at: usize) -> &'static str {
        let line = self.line_of(at);
        let known = self.ends_as_on_windows(line).or_else(|| self.ends_as_on_windows(line.checked_sub(1)?));
        if known == Some(true) { "\r\n" } else { "\n" }
    }

    /// Whether the line ends with a return and a line feed; `None` when no other follows.
    fn ends_as_on_windows(&self, line: usize) -> Option<bool> {
        self.starts.get(line + 1).map(|end| self.text[..*end].ends_with("\r\n"))
    }

    /// Nothing but a comment, or nothing, or the end of the document.
    pub fn is_aside(&self, number: usize) -> bool {
        let line = self.line(number).trim_start();
        line.is_empty() || line.starts_with('#') || self.is_marker(number)
    }

    pub fn is_marker(&self, number: usize) -> bool {
        let line = self.line(number);
        line.starts_with("...") || line.starts_with("---")
    }

    pub fn indent(&self, number: usize) -> usize {
        let line = self.line(number);
        line.len() - line.trim_start().len()
    }

    /// Where what begins in this line and ends before `limit` really ends: what follows it at `column` or before it, blank lines and
    /// comments, belongs to somebody else.
    pub fn own_end(&self, start: usize, limit: usize, column: usize) -> usize {
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
    pub fn head(&self, start: usize, limit: usize, column: usize) -> usize {
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
    pub fn skip(&self, mut at: usize, also: &[char]) -> usize {
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
