//! Who may ask: this machine's and this network's browsers and programs, and no page of somebody else's.
//!
//! A page of another site can make a browser send requests here, and a name that somebody else owns can be made to lead here
//! (DNS rebinding). So the host that a request names must be an address, `localhost` or one that the owner allows, and what
//! writes must come from a page of this very host, or from no page at all.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::api::problem::{Problem, ProblemCode};

/// Hosts beside addresses and `localhost` under which this is reached, such as that of a proxy in front of it.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    pub fn new(allowed: impl IntoIterator<Item = String>) -> Self {
        Self(allowed.into_iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// `host` or `host:port`, as a request has it.
    fn trusts(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address || host == "localhost" || self.0.contains(&host) || self.allows(authority)
    }

    /// The owner named just this: another port of the same host is somebody else.
    fn allows(&self, authority: &str) -> bool {
        self.0.contains(&authority.to_ascii_lowercase())
    }
}

/// Without the port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// # Errors
/// The answer to a request that is not let through.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match check(&hosts, request.method(), request.headers(), request.uri().host()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(hosts: &Hosts, method: &Method, headers: &HeaderMap, uri: Option<&str>) -> Result<(), Problem> {
    for name in [header::HOST, header::ORIGIN] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Problem::new(
                ProblemCode::UntrustedHost,
                format!("the request has more than one `{name}`"),
            ));
        }
    }
    let Some(host) = text_of(headers, header::HOST).or(uri) else {
        return Err(Problem::new(ProblemCode::UntrustedHost, "the request names no host"));
    };
    // An address with a host in it counts before the header (RFC 9112, 3.2.2): both must be ours, and the same.
    if uri.is_some_and(|uri| {
        !uri.eq_ignore_ascii_case(host_of(host).trim_matches(['[', ']']))
            && !uri.eq_ignore_ascii_case(host_of(host))
    }) {
        return Err(Problem::new(
            ProblemCode::UntrustedHost,
            "the request's address and its `Host` name two hosts",
        ));
    }
    if !hosts.trusts(host) {
        let detail = format!(
            "`{}` is no address and not `localhost`; where this is reached by that name, start it with --allow-host",
            host_of(host)
        );
        return Err(Problem::new(ProblemCode::UntrustedHost, detail));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let site = text_of(headers, header::HeaderName::from_static("sec-fetch-site"));
    match (site, text_of(headers, header::ORIGIN)) {
        // Typed by a person, or a page of the same origin.
        (Some("same-origin" | "none"), _) => Ok(()),
        (Some(_), _) => Err(foreign()),
        // A program, or a browser that is too old to say.
        (None, None) => Ok(()),
        (None, Some(origin)) => match origin.split_once("://") {
            Some((_, authority)) if authority.eq_ignore_ascii_case(host) => Ok(()),
            // A proxy in front may name another host than its page has.
            Some((_, authority)) if hosts.allows(authority) => Ok(()),
            _ => Err(foreign()),
        },
    }
}

/// What a header says.
fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// That another page asks.
fn foreign() -> Problem {
    Problem::new(ProblemCode::CrossOrigin, "only a page of this host may change something here")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn is_let_in(method: &Method, pairs: &[(&str, &str)]) -> bool {
        let hosts = Hosts::new(["spark.example".to_owned()]);
        check(&hosts, method, &headers(pairs), None).is_ok()
    }

    /// If this failed, a page somewhere could read what runs here through a name that leads here.
    #[test]
    fn a_request_names_an_address_or_a_host_that_is_allowed() {
        for (host, trusted) in [
            ("127.0.0.1:9999", true),
            ("192.0.2.7", true),
            ("[::1]:9999", true),
            ("localhost:9999", true),
            ("LocalHost", true),
            ("spark.example", true),
            ("SPARK.example:443", true),
            ("evil.example:9999", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("spark.example.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_let_in(&Method::GET, &[("host", host)]), trusted, "{host:?}");
        }
        assert!(!is_let_in(&Method::GET, &[]));
        assert!(!is_let_in(&Method::GET, &[("host", "127.0.0.1"), ("host", "evil.example")]), "two hosts");
        for (uri, host, trusted) in [
            ("127.0.0.1", "127.0.0.1:9999", true),
            ("[::1]", "[::1]:9999", true),
            ("evil.example", "127.0.0.1:9999", false),
            ("127.0.0.1", "evil.example", false),
        ] {
            let hosts = Hosts::default();
            let checked = check(&hosts, &Method::GET, &headers(&[("host", host)]), Some(uri));
            assert_eq!(checked.is_ok(), trusted, "{uri} {host}");
        }
    }

    /// If this failed, any page that an owner visits could swap the model.
    #[test]
    fn what_writes_comes_from_a_page_of_this_host_or_from_no_page() {
        let host = ("host", "192.0.2.7:9999");
        for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
            for (pairs, let_in) in [
                (vec![host], true),
                (vec![host, ("sec-fetch-site", "same-origin")], true),
                (vec![host, ("sec-fetch-site", "none")], true),
                (vec![host, ("sec-fetch-site", "same-site")], false),
                (vec![host, ("sec-fetch-site", "cross-site")], false),
                (vec![host, ("origin", "http://192.0.2.7:9999")], true),
                (vec![host, ("origin", "http://192.0.2.7")], false),
                (vec![host, ("origin", "https://spark.example")], true),
                (vec![host, ("origin", "http://spark.example:3000")], false),
                (vec![host, ("origin", "https://evil.example")], false),
                (vec![host, ("origin", "null")], false),
                (vec![host, ("origin", "http://192.0.2.7:9999"), ("origin", "https://evil.example")], false),
            ] {
                assert_eq!(is_let_in(&method, &pairs), let_in, "{method} {pairs:?}");
            }
        }
        assert!(is_let_in(&Method::GET, &[host, ("sec-fetch-site", "cross-site")]), "a link leads here");
    }
}
