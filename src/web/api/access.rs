//! Who asks: everybody, while there are no tokens; else whose token or whose browser it is, and what it may.

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    problem::{Problem, ProblemCode},
    request::{JsonBody, OnThisMachine, RequestCaller, Shared},
};
use crate::{
    controller::authenticator::Caller,
    core::model::access::Role,
    wire::v1::access::{Session, SignIn},
};

/// A browser's.
pub const COOKIE: &str = "spark_control";

/// What an operation asks of who asks.
#[derive(Clone)]
pub struct RequiredRole {
    pub controller: Shared,
    pub role: Role,
}

/// The gate's turn at which somebody was let in: what lasts ends when there is another.
#[derive(Clone, Copy)]
pub struct AuthGeneration(pub u64);

/// Lets through who may, and tells the operation who that is.
pub async fn door(State(door): State<RequiredRole>, mut request: Request, next: Next) -> Response {
    if door.role == Role::Nobody {
        return next.run(request).await;
    }
    // Before it is asked: whoever loses the right while being let in is noticed, too.
    let turn = AuthGeneration(door.controller.auth_generation());
    let is_here = request.extensions().get::<OnThisMachine>().is_some();
    let let_in = if is_here { Ok(Caller::EVERYBODY) } else { authorize(&door, request.headers()) };
    match let_in {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            request.extensions_mut().insert(turn);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn authorize(door: &RequiredRole, headers: &HeaderMap) -> Result<Caller, Problem> {
    let asker = asker(&door.controller, headers)?;
    if asker.role < door.role {
        let name = asker.name.unwrap_or_default();
        let detail =
            format!("token `{name}` may {}, and this asks for {}", asker.role.name(), door.role.name());
        return Err(Problem::new(ProblemCode::Forbidden, detail));
    }
    // A page of another site can make a browser send its cookie; whatever comes from a page says so.
    let from_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if asker.session.is_some() && door.role > Role::Read && !from_page {
        let detail = "what comes with a browser's cookie names its origin; a program sends `Authorization`";
        return Err(Problem::new(ProblemCode::CrossOrigin, detail));
    }
    Ok(asker)
}

fn asker(controller: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    if !controller.needs_token() {
        return Ok(Caller::EVERYBODY);
    }
    let written = headers.get(header::AUTHORIZATION).and_then(|written| written.to_str().ok());
    let bearer = written.and_then(|written| {
        let (scheme, token) = written.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let known = match bearer {
        Some(token) => controller.asker_of(token),
        None => cookies(headers).find_map(|cookie| controller.asker_of_browser(cookie)),
    };
    known.ok_or_else(|| {
        if controller.tokens_are_lost() {
            return Problem::new(ProblemCode::Unauthorized, LOST);
        }
        let detail = "name a token: `Authorization: Bearer …`, or sign in; `spark-control token` makes one";
        Problem::new(ProblemCode::Unauthorized, detail)
    })
}

/// Every cookie of ours that a browser sends: one of another path or an earlier start may stand before the good one.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|pairs| pairs.to_str().ok());
    let pairs = pairs.flat_map(|pairs| pairs.split(';'));
    pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=')).take(MOST_COOKIES)
}

/// For who has the machine.
const LOST: &str = "this controller had tokens, and its store has none any more, so nobody is let in; on its machine: \
                    `spark-control token create NAME --role approve`, or put a backup of the store back";

/// Each is compared with what is kept.
const MOST_COOKIES: usize = 8;

/// Who asks, also when nobody may.
pub async fn session(State(controller): State<Shared>, Extension(asker): Extension<Caller>) -> Json<Session> {
    Json(told(&controller, asker))
}

/// A browser keeps a cookie instead of the token, which no script can read.
pub async fn sign_in(
    State(controller): State<Shared>,
    RequestCaller { by, .. }: RequestCaller,
    headers: HeaderMap,
    JsonBody(wish): JsonBody<SignIn>,
) -> Result<Response, Problem> {
    let Some((asker, secret)) = controller.sign_in(wish.token.trim())? else {
        controller.sign_in_failed(&by)?;
        return Err(Problem::new(
            ProblemCode::Unauthorized,
            "this token is not known here; it may have been revoked",
        ));
    };
    let secure = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let mut response = Json(told(&controller, asker)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, keep(&secret, 30 * 24 * 3600, secure));
    Ok(response)
}

/// The browser's cookie is worth nothing any more.
pub async fn sign_out(State(controller): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    for cookie in cookies(&headers) {
        if let Some(session) = controller.asker_of_browser(cookie).and_then(|asker| asker.session) {
            controller.sign_out(&session.id)?;
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, keep("", 0, false));
    Ok(response)
}

fn keep(secret: &str, secs: u64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={secret}; Path=/; Max-Age={secs}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).expect("hex and fixed words")
}

fn told(controller: &Shared, asker: Caller) -> Session {
    Session {
        needs_token: controller.needs_token(),
        name: asker.name,
        role: asker.role,
        until: asker.session.map(|session| session.until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this failed, a cookie of an earlier start that a browser still sends would keep its person out.
    #[test]
    fn a_stray_cookie_hides_no_good_one() {
        let mut headers = HeaderMap::new();
        for pairs in [format!("theme=dark; {COOKIE}=old"), format!("{COOKIE}=good; {COOKIE}x=other")] {
            headers.append(header::COOKIE, HeaderValue::from_str(&pairs).unwrap());
        }
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["old", "good"]);
    }
}
