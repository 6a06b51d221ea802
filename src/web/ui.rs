//! The page: files of this program, as they are. It asks the API and nothing else.

use std::{io::Write, sync::LazyLock};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::core::model::spec_hash::hex;

/// Scripts from here alone, none written into the page; no text that becomes markup; nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where, what, and its bytes.
type EmbeddedFile = (&'static str, &'static str, &'static str);

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        ($path, $kind, include_str!(concat!("ui/", $name)))
    };
}

pub const FILES: [EmbeddedFile; 30] = [
    file!("/", HTML, "index.html"),
    file!("/api", HTML, "api.html"),
    file!("/ui/style.css", CSS, "style.css"),
    file!("/ui/icon.svg", SVG, "icon.svg"),
    file!("/ui/api.js", SCRIPT, "api.js"),
    file!("/ui/app.js", SCRIPT, "app.js"),
    file!("/ui/change.js", SCRIPT, "change.js"),
    file!("/ui/charts.js", SCRIPT, "charts.js"),
    file!("/ui/cluster.js", SCRIPT, "cluster.js"),
    file!("/ui/consent.js", SCRIPT, "consent.js"),
    file!("/ui/drift.js", SCRIPT, "drift.js"),
    file!("/ui/file.js", SCRIPT, "file.js"),
    file!("/ui/format.js", SCRIPT, "format.js"),
    file!("/ui/headline.js", SCRIPT, "headline.js"),
    file!("/ui/history.js", SCRIPT, "history.js"),
    file!("/ui/logs.js", SCRIPT, "logs.js"),
    file!("/ui/models.js", SCRIPT, "models.js"),
    file!("/ui/parts.js", SCRIPT, "parts.js"),
    file!("/ui/plan.js", SCRIPT, "plan.js"),
    file!("/ui/progress.js", SCRIPT, "progress.js"),
    file!("/ui/reasons.js", SCRIPT, "reasons.js"),
    file!("/ui/reference.js", SCRIPT, "reference.js"),
    file!("/ui/services.js", SCRIPT, "services.js"),
    file!("/ui/sign.js", SCRIPT, "sign.js"),
    file!("/ui/slots.js", SCRIPT, "slots.js"),
    file!("/ui/times.js", SCRIPT, "times.js"),
    file!("/ui/words.js", SCRIPT, "words.js"),
    file!("/ui/vendor/preact.js", SCRIPT, "vendor/preact.js"),
    file!("/ui/vendor/hooks.js", SCRIPT, "vendor/hooks.js"),
    file!("/ui/vendor/htm.js", SCRIPT, "vendor/htm.js"),
];

/// One file, ready to be sent.
struct Ready {
    kind: &'static str,
    text: &'static str,
    /// Smaller by two thirds.
    packed: Vec<u8>,
    tag: HeaderValue,
}

impl Ready {
    /// Packs the file and makes its tag.
    fn new((_, kind, text): &EmbeddedFile) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(text.as_bytes()).expect("memory takes what is written");
        let tag = format!("\"{}\"", hex(&Sha256::digest(text.as_bytes())[..8]));
        Self {
            kind,
            text,
            packed: packer.finish().expect("memory takes what is written"),
            tag: HeaderValue::from_str(&tag).expect("hex in quotes"),
        }
    }
}

static READY: LazyLock<Vec<Ready>> = LazyLock::new(|| FILES.iter().map(Ready::new).collect());

pub fn router() -> Router {
    let mut router = Router::new();
    for (index, (path, ..)) in FILES.iter().enumerate() {
        router = router.route(path, get(send).with_state(index));
    }
    router
}

async fn send(State(index): State<usize>, headers: HeaderMap) -> Response {
    let file = &READY[index];
    // A new program has new files: a browser asks each time, and is told when it has them.
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::ETAG, file.tag.clone()),
    ];
    if headers.get(header::IF_NONE_MATCH) == Some(&file.tag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|accepts| accepts.to_str().ok());
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(file.kind))];
    if accepts.is_some_and(takes_gzip) {
        let packed = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        return (fixed, kind, packed, file.packed.as_slice()).into_response();
    }
    (fixed, kind, file.text).into_response()
}

/// As RFC 9110, 12.5.3 has it: named, or meant by `*`, and not with a weight of nothing.
fn takes_gzip(accepts: &str) -> bool {
    weight_of("gzip", accepts).or_else(|| weight_of("*", accepts)).is_some_and(|weight| weight > 0.0)
}

/// How much an encoding is wanted; `None` when it is not named.
fn weight_of(encoding: &str, accepts: &str) -> Option<f32> {
    accepts.split(',').find_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(encoding))?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (accepts, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("br, *;q=0", false),
            ("identity", false),
            ("", false),
            ("gzipped", false),
        ] {
            assert_eq!(takes_gzip(accepts), takes, "{accepts:?}");
        }
    }

    /// If this failed, the page would ask for one file after the other, or for one that is not there.
    #[test]
    fn every_script_of_the_page_is_asked_for_at_once() {
        let (_, _, page) = FILES[0];
        for (path, kind, text) in FILES {
            let is_asked =
                page.contains(&format!("href=\"{path}\"")) || page.contains(&format!("src=\"{path}\""));
            assert!(is_asked || kind != SCRIPT || path == "/ui/reference.js", "{path}");
            for line in text.lines().filter(|line| kind == SCRIPT && line.starts_with("import ")) {
                let name = line
                    .rsplit('"')
                    .nth(1)
                    .and_then(|name| name.strip_prefix("./"))
                    .expect("a file beside it");
                let folder = path.rsplit_once('/').expect("an address").0;
                let wanted = format!("{folder}/{name}");
                assert!(FILES.iter().any(|(path, ..)| *path == wanted), "{path} imports {wanted}");
            }
        }
    }
}
