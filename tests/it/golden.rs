//! Text that is checked in and reviewed like code. `SPARK_CONTROL_BLESS=1` writes what the program says now.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A path in the repository.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `text` is what the file at `path` holds.
pub fn assert_golden(path: &str, text: &str) {
    let file = here(path);
    if std::env::var_os("SPARK_CONTROL_BLESS").is_some() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder");
        fs::write(&file, text).expect("the file is written");
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if kept == text {
        return;
    }
    let first = kept.lines().zip(text.lines()).position(|(kept, now)| kept != now);
    let line = first.unwrap_or_else(|| kept.lines().count().min(text.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(its end)").to_owned();
    panic!(
        "{path} is out of date at line {}\n  it has: {}\n  it is:  {}\nrun the tests with SPARK_CONTROL_BLESS=1 and \
         review the difference",
        line + 1,
        at(&kept),
        at(text)
    );
}

/// The files of a folder with this extension, by stem.
pub fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    fs::read_dir(here(folder))
        .expect("the folder")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == extension).then(|| path.file_stem()?.to_str().map(str::to_owned))?
        })
        .collect()
}
