//! Files that nobody writes by accident, or only once: a clear answer in a moment, never a panic.

use spark_control::manifest::load::load;

const GOOD: &str = "version: 1\nsparks: { a: { address: 192.0.2.1, user: alice } }\n";

/// If this failed, a broken download or a bad joke in the file would end the controller, or stall it.
#[test]
fn hostile_files_get_an_answer() {
    let bomb: String = (0..20).fold("x-0: &l0 [a, a, a, a, a, a, a, a, a]\n".to_owned(), |text, level| {
        let alias = format!("*l{level}");
        format!("{text}x-{}: &l{} [{}]\n", level + 1, level + 1, [alias.as_str(); 9].join(", "))
    });
    let cases: [(&str, String); 14] = [
        ("an alias bomb", format!("{bomb}{GOOD}")),
        ("deep nesting", format!("{GOOD}x-deep: {}{}\n", "[".repeat(5000), "]".repeat(5000))),
        ("deep nesting that does not end", "{a: ".repeat(100_000)),
        ("a huge file", "# comment\n".repeat(10_000_000)),
        ("a tab for indentation", "version: 1\nsparks:\n\ta: {}\n".into()),
        ("a NUL", format!("{GOOD}x: \0\n")),
        ("only a bracket", "[".into()),
        ("a list", "- a\n- b\n".into()),
        ("a word", "hello\n".into()),
        ("two documents", format!("{GOOD}---\n{GOOD}")),
        ("a merge key onto nothing", format!("{GOOD}<<: *nothing\n")),
        ("a duplicate section", format!("{GOOD}sparks: {{}}\n")),
        ("blank collections", "version: 1\nsparks:\nmodels:\n".into()),
        (
            "a number for everything",
            "version: 1\nsparks: 7\nmodels: 7\nservices: 7\nvllm: 7\nschedule: 7\n".into(),
        ),
    ];
    for (what, text) in cases {
        let problems = load(&text).map(|_| ()).expect_err(what);
        assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.message.is_empty()), "{what}");
        let shown = spark_control::manifest::render(&problems[..1], "cluster.yaml", &text);
        assert!(shown.len() < 100_000, "{what}: {} bytes of report", shown.len());
    }
}

/// If this failed, a file from another editor or system would be refused for how it is written.
#[test]
fn unusual_but_legal_files_are_read() {
    for (what, text) in [
        ("a byte order mark", format!("\u{feff}{GOOD}")),
        ("carriage returns", GOOD.replace('\n', "\r\n")),
        ("no newline at the end", GOOD.trim_end().to_owned()),
        ("blank values", format!("{GOOD}model:\nvllm:\nmodels:\nservices:\nholds:\nschedule:\nreconcile:\n")),
        ("own keys", format!("{GOOD}x-mine: {{ anything: [1, two] }}\n")),
    ] {
        let loaded = load(&text).unwrap_or_else(|problems| panic!("{what}: {problems:?}"));
        assert_eq!(loaded.desired.sparks.len(), 1, "{what}");
    }
}
