//! Who may ask over HTTP, and what comes of asking twice.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use spark_control::{controller::round::RoundMode, core::model::access::Role};

use crate::api::{Answer, Api, code, revision};

fn with(request: RequestBuilder, token: &str) -> RequestBuilder {
    request.header("authorization", format!("Bearer {token}"))
}

async fn patch(api: &Api, token: &str) -> Answer {
    let request = api
        .request(Method::PATCH, "/api/v1/desired?dry_run=true")
        .header("content-type", "application/merge-patch+json")
        .header("if-match", "*")
        .body(json!({ "model": "none" }).to_string());
    api.send(with(request, token)).await
}

/// If this failed, whoever reaches the address could swap a model though its owner asks for tokens.
#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_each_may_what_its_role_may_and_no_more() {
    let api = Api::new("model: alpha\nreconcile: { on_edit: approve }").await;
    assert_eq!(api.get("/api/v1/status").await.status, 200, "without tokens everybody may");
    assert_eq!(api.get("/api/v1/session").await.body["role"], "approve");

    let reader = api.controller.make_token("reader", Role::Read).unwrap();
    let editor = api.controller.make_token("editor", Role::Edit).unwrap();
    let owner = api.controller.make_token("owner", Role::Approve).unwrap();
    let plan = api.controller.snapshot().plan.clone().unwrap().id;
    let approve = || api.request(Method::POST, &format!("/api/v1/plans/{plan}/approve"));

    for path in ["/api/v1/status", "/api/v1/desired", "/api/v1/events", "/api/endpoints", "/metrics"] {
        let refused = api.get(path).await;
        assert_eq!(code(&refused), (401, "unauthorized", false), "{path}");
    }
    assert_eq!(code(&api.send(approve()).await), (401, "unauthorized", false));
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(api.get(path).await.status, 200, "{path} asks for none");
    }
    let last = if owner.ends_with('0') { 1 } else { 0 };
    let wrong = format!("{}{last}", &owner[..owner.len() - 1]);
    for token in ["", "sc_", "sc_1_2", "owner", wrong.as_str()] {
        let refused = api.send(with(api.request(Method::GET, "/api/v1/status"), token)).await;
        assert_eq!(code(&refused), (401, "unauthorized", false), "{token:?}");
        assert!(!refused.body.to_string().contains(&owner[12..]), "a token is in an error");
    }
    assert_eq!(api.send(with(api.request(Method::GET, "/api/v1/status"), &reader)).await.status, 200);
    assert_eq!(code(&patch(&api, &reader).await), (403, "forbidden", false));
    assert_eq!(patch(&api, &editor).await.status, 200);
    assert_eq!(code(&api.send(with(approve(), &editor)).await), (403, "forbidden", false));
    assert_eq!(api.send(with(approve(), &owner)).await.status, 204);
    let last = api.send(with(api.request(Method::GET, "/api/v1/history?last=1"), &owner)).await;
    let message = last.body["events"][0]["message"].as_str().unwrap();
    assert!(message.contains("approved by token `owner` from 127.0.0.1"), "{message}");

    // What is kept of them is nobody's token.
    let store = std::fs::read(api.controller.places.data.join("spark-control.db")).unwrap();
    let log = std::fs::read(api.controller.places.data.join("spark-control.db-wal")).unwrap_or_default();
    for token in [&reader, &editor, &owner] {
        let secret = token.rsplit('_').next().unwrap().as_bytes();
        let is_in = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!is_in(&store) && !is_in(&log), "a secret is in the store");
    }
    let listed = api.controller.tokens();
    let used = |name: &str| listed.iter().find(|token| token.name == name).unwrap().used.is_some();
    assert!(used("reader") && used("editor") && used("owner"));

    // A stream ends when somebody may not ask any more; whoever still may comes back.
    let mut stream = with(api.request(Method::GET, "/api/v1/events"), &owner).send().await.unwrap();
    stream.chunk().await.unwrap().expect("what is now");

    // Another controller of the same store knows them; one that is revoked is nobody's at once.
    assert_eq!(api.cluster.controller("a").tokens().len(), 3);
    api.controller.revoke_token("owner").unwrap();
    assert_eq!(code(&patch(&api, &owner).await), (401, "unauthorized", false));
    api.controller.round(RoundMode::Preview).await.unwrap();
    let ends = tokio::time::timeout(std::time::Duration::from_secs(20), stream.chunk()).await;
    assert!(ends.expect("it ends").unwrap().is_none(), "it goes on");
    assert!(api.controller.revoke_token("owner").is_err());
    assert!(api.controller.make_token("reader", Role::Edit).is_err(), "two of one name");
    assert!(api.controller.make_token("not a name", Role::Edit).is_err());
}

/// If this failed, a lost password could not be replaced, or would still be worth something.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_is_worth_what_the_one_before_was_which_is_worth_nothing() {
    let api = Api::new("model: alpha").await;
    let first = api.controller.renew_token("owner", Some(Role::Approve)).unwrap();
    let second = api.controller.renew_token("owner", None).unwrap();
    assert_eq!(code(&patch(&api, &first).await), (401, "unauthorized", false));
    assert_eq!(patch(&api, &second).await.status, 200);
    let [listed] = &api.controller.tokens()[..] else { panic!("one of that name") };
    assert_eq!(listed.role, Role::Approve);
    assert_eq!(api.cluster.controller("a").tokens().len(), 1, "it is kept");
    assert_eq!(api.get("/api/v1/status").await.status, 401, "at no time is nobody asked");
}

/// If this failed, a page of somebody else's could use the cookie of a browser that has signed in.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_a_cookie_that_only_its_own_page_can_use() {
    let api = Api::new("model: alpha").await;
    let token = api.controller.make_token("alice", Role::Edit).unwrap();
    let sign_in = |token: &str| {
        let body = json!({ "token": token }).to_string();
        api.request(Method::POST, "/api/v1/session").header("content-type", "application/json").body(body)
    };
    for _ in 0..20 {
        assert_eq!(code(&api.send(sign_in("sc_00000000_0")).await), (401, "unauthorized", false));
    }
    let tried = || {
        let events = api.controller.events(100).unwrap();
        let tried = events.iter().filter(|event| event.message.contains("tried to sign in"));
        tried.map(|event| event.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(tried().len(), 1, "guessing does not wash the history away");
    assert!(tried()[0].contains("from 127.0.0.1") && !tried()[0].contains("sc_"), "{:?}", tried());
    api.cluster.skip(std::time::Duration::from_secs(61));
    api.send(sign_in("sc_00000000_0")).await;
    assert!(tried()[1].ends_with("and 19 times more since the last line"), "{:?}", tried());
    // Behind a proxy that speaks https, the cookie goes nowhere else.
    let cookie_set =
        |response: &reqwest::Response| response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let behind = sign_in(&token).header("x-forwarded-proto", "https").send().await.unwrap();
    assert!(cookie_set(&behind).ends_with("; Secure"), "{}", cookie_set(&behind));
    let response = sign_in(&token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let written = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(written.contains(word), "{written}");
    }
    let cookie = written.split(';').next().unwrap().to_owned();
    assert!(!cookie.contains(&token[12..]), "the cookie is not the token");

    let session =
        |cookie: &str| api.request(Method::GET, "/api/v1/session").header("cookie", cookie.to_owned());
    let who = api.send(session(&cookie)).await;
    assert_eq!((&who.body["name"], &who.body["role"]), (&json!("alice"), &json!("edit")));
    let edit = || {
        api.request(Method::PATCH, "/api/v1/desired?dry_run=true")
            .header("cookie", cookie.clone())
            .header("content-type", "application/merge-patch+json")
            .header("if-match", "*")
            .body("{}")
    };
    assert_eq!(code(&api.send(edit()).await), (403, "cross_origin", false), "it does not say from where");
    let foreign = edit().header("sec-fetch-site", "cross-site");
    assert_eq!(code(&api.send(foreign).await), (403, "cross_origin", false));
    assert_eq!(api.send(edit().header("sec-fetch-site", "same-origin")).await.status, 200);

    let out = api.request(Method::DELETE, "/api/v1/session").header("cookie", cookie.clone());
    assert_eq!(api.send(out).await.status, 204);
    assert_eq!(code(&api.send(session(&cookie)).await), (401, "unauthorized", false));

    // One token's browsers push out its own, and nobody else's.
    let other = api.controller.make_token("carol", Role::Read).unwrap();
    let cookie_of = |response: reqwest::Response| {
        response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let first = cookie_of(sign_in(&token).send().await.unwrap());
    let carol = cookie_of(sign_in(&other).send().await.unwrap());
    for _ in 0..50 {
        assert_eq!(sign_in(&token).send().await.unwrap().status(), 200);
    }
    assert_eq!(api.send(session(&first)).await.status, 401);
    assert_eq!(api.send(session(&carol)).await.status, 200);

    // A browser is out with its token.
    let again = sign_in(&token).send().await.unwrap();
    let cookie = again.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(api.send(session(&cookie)).await.status, 200);
    api.controller.revoke_token("alice").unwrap();
    api.controller.make_token("bob", Role::Read).unwrap();
    assert_eq!(code(&api.send(session(&cookie)).await), (401, "unauthorized", false));
}

/// If this failed, a request that was sent again because its answer was lost would be done twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_is_done_once() {
    let api = Api::new("model: alpha").await;
    let swap = |key: &str, model: &str| {
        api.request(Method::POST, "/api/swap")
            .header("idempotency-key", key.to_owned())
            .header("content-type", "application/json")
            .body(json!({ "model": model }).to_string())
    };
    let first = api.send(swap("k1", "beta")).await;
    assert_eq!((first.status.as_u16(), revision(&first)), (202, Some(2)));
    // Meanwhile somebody else decides otherwise; the old request changes nothing any more.
    api.merge(Some("*"), "", json!({ "model": "none" })).await;
    let replayed = swap("k1", "beta").send().await.unwrap();
    assert_eq!(replayed.headers()["idempotency-replayed"], "true");
    let again = api.send(swap("k1", "beta")).await;
    assert_eq!((again.status, again.tag, again.body), (first.status, first.tag, first.body));
    assert_eq!(api.get("/api/v1/desired").await.body["value"]["model"], "none");
    assert_eq!(code(&api.send(swap("k1", "alpha")).await), (422, "key_reused", false));
    assert_eq!(api.send(swap("k2", "beta")).await.status, 202, "another key is another request");
    let long = "k".repeat(256);
    assert_eq!(code(&api.send(swap(&long, "beta")).await), (400, "invalid_request", false));
    // A refusal is an answer, too.
    let refused = api.send(swap("k3", "nothing-like-it")).await;
    assert_eq!(code(&refused), (422, "invalid", false));
    assert_eq!(api.send(swap("k3", "nothing-like-it")).await.body, refused.body);

    // The same edit of a newer revision is another request.
    let revert = |base: &str| {
        api.request(Method::POST, "/api/v1/desired/revert/1")
            .header("idempotency-key", "k4")
            .header("if-match", base.to_owned())
    };
    assert_eq!(code(&api.send(revert("\"1\"")).await), (412, "conflict", false));
    assert_eq!(
        code(&api.send(revert("*")).await),
        (422, "key_reused", false),
        "it is not what was asked first"
    );

    let keyed = || api.request(Method::POST, "/api/v1/reconcile").header("idempotency-key", "same");
    let answers = futures_util::future::join_all((0..8).map(|_| api.send(keyed()))).await;
    for answer in &answers {
        assert!(answer.status == 202 || code(answer) == (409, "key_in_use", false), "{}", answer.body);
    }
    api.controller.round(RoundMode::Act).await.unwrap();
}
